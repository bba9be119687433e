"""What rules do besides: fields in front of what leaves, people who are told once, evidence that nobody releases."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.servers.daemon import POLL_SECONDS
from tests.servers.sink import Sink
from tests.stories.house import CLERK, OURS, PASS, SECONDS, house, message, until, with_attachment
from tests.stories.windows import DAY, room_in

STRANGERS = (
    PASS
    + """\
  - name: many-strangers
    when: {direction: [outbound], first_time_recipient: true, first_time_recipients_today: {more_than: 2}}
    then: hold
    because: many first-time recipients on one day
"""
)
RULES = (
    PASS
    + """\
  - name: court
    when: {partner: [court]}
    then: deliver
    because: mail to the court
    headers: {X-Sluis-Kind: court, Comments: seen by policy}
  - name: evidence
    when: {attachment: {extensions: [exe]}}
    then: quarantine
    because: a program
    keep: true
    notify: [desk@prosecution.example]
"""
)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_fields_are_put_in_front_for_those_of_the_rule_and_evidence_is_told_of_once(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with (
            Sink() as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy={"rules/pass.yaml": RULES}) as sluis,
        ):
            raw = message()
            reply = await sluis.send(raw, to=[CLERK, "piet@elsewhere.example"])
            await sluis.until_states(reply, "delivered", "delivered")
            copies = {received.envelope.recipients[0][0].partition("@")[2]: received.raw for received in sink.messages}
            assert b"Comments: seen by policy\r\nX-Sluis-Kind: court\r\nReceived: " in copies["court.example"]
            assert b"X-Sluis-Kind" not in copies["elsewhere.example"], "one recipient's fields reach no other"
            assert all(copy.endswith(raw) for copy in copies.values())

            reply = await sluis.send(with_attachment("a.exe", b"MZ and more\n"), to=[CLERK, "piet@elsewhere.example"])
            await sluis.until_states(reply, "quarantined", "quarantined")
            await until(lambda: len(home.messages) == 1, lambda: f"one notice: {home.messages}")
            [notice] = home.messages
            assert (notice.envelope.sender, [address for address, _ in notice.envelope.recipients]) == ("", [f"desk@{OURS}"])
            assert reply.id.hex.encode() in notice.raw
            assert b"Auto-Submitted: auto-generated\r\n" in notice.raw
            assert b"MZ" not in notice.raw
            assert b"<piet@elsewhere.example>: quarantined\r\n" in notice.raw

            said = await sluis.sluis("quarantine", "release", reply.id.hex, "--reason", "a mistake")
            assert "a rule keeps it as evidence: it can never be released" in said.out + said.err
            async with asyncio.timeout(SECONDS):  # that it was taken is a commit of its own
                while " notified: 250" not in (shown := await sluis.sluis("message", "show", reply.id.hex, "--reason", "look")).out:
                    await asyncio.sleep(POLL_SECONDS)
            assert "kept as evidence, never to be released" in shown.out
            assert f"notice to desk@{OURS} by rule evidence: 250" in shown.out

    asyncio.run(story())


def test_strangers_above_a_daily_number_wait_and_those_who_are_known_do_not(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": STRANGERS}) as sluis:
            await room_in(DAY)
            for number in (1, 2):
                reply = await sluis.send(message(), to=[f"new{number}@court.example"])
                await sluis.until_states(reply, "delivered")
            reply = await sluis.send(message(), to=["new3@court.example", "new1@court.example"])
            await sluis.until_states(reply, "held", "delivered")
            reply = await sluis.send(message(), to=["new2@court.example"])
            await sluis.until_states(reply, "delivered")

    asyncio.run(story())
