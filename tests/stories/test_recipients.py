"""One recipient's verdict never decides for another (promise 4), and who does not exist is refused before 250."""

import asyncio
from pathlib import Path

from relay.settings.models import Store
from tests.servers.postfix import running_postfix
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import CLERK, house, message

SENDER_OUTSIDE = "lawyer@elsewhere.example"
THREE = """\
rules:
  - {name: pass, then: deliver, because: ordinary mail}
  - {name: later, when: {recipient: [police.example]}, then: hold, because: not open yet}
  - {name: look, when: {recipient: [stranger.example]}, then: quarantine, because: a person looks}
  - {name: never, when: {recipient: [shut.example], subject_contains: [Hearing]}, then: reject, because: not there}
"""


def test_three_recipients_meet_three_ends_in_one_data(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": THREE}) as sluis:
            reply = await sluis.send(message(), to=[CLERK, "desk@police.example", "info@stranger.example"])
            assert reply.code == 250
            await sluis.until_states(reply, "delivered", "held", "quarantined")
            (arrived,) = sink.messages
            assert arrived.envelope.addresses == [CLERK]

    asyncio.run(story())


def test_one_that_is_rejected_among_others_is_bounced_to_its_vouched_sender(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with (
            Sink() as sink,
            Sink() as inside,
            house(tmp_path, database, outside=sink.port, inside=inside.port, policy={"rules/pass.yaml": THREE}) as sluis,
        ):
            reply = await sluis.send(message(), to=[CLERK, "info@shut.example"])
            assert reply.code == 250
            await sluis.until_states(reply, "delivered", "bounced")
            (notice,) = await inside.wait_for_messages(1)
            assert notice.envelope.sender == ""
            assert b"info@shut.example" in notice.raw
            assert CLERK.encode() not in notice.raw.partition(b"message/delivery-status")[2].partition(b"text/rfc822-headers")[0]
            assert b"never" not in notice.raw, "the sender never hears the rule"

    asyncio.run(story())


def test_all_rejected_is_one_5xx_and_no_custody(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": THREE}) as sluis:
            reply = await sluis.send(message(), to=["a@shut.example", "b@shut.example"])
            assert reply.code == 550
            assert sluis.states(reply.id) == ["refused", "refused"]
            assert sluis.balance().accepted == 0

    asyncio.run(story())


def test_an_inbound_recipient_is_asked_for_at_a_real_next_hop(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with (
            running_postfix(tmp_path, domains=["prosecution.example"], mailboxes=["s.devries@prosecution.example"]) as inside,
            house(tmp_path, database, inside=inside.port) as sluis,
        ):
            raw = message("Plea", From=SENDER_OUTSIDE)
            unknown = await sluis.send(raw, to=["nobody@prosecution.example"], sender=SENDER_OUTSIDE, listener="outside")
            assert (unknown.code, unknown.text[:5]) == (550, "5.1.1")
            known = await sluis.send(raw, to=["s.devries@prosecution.example"], sender=SENDER_OUTSIDE, listener="outside")
            await sluis.until_states(known, "delivered")
            (mail,) = await inside.wait_for_mail(1)
            assert mail.sender == SENDER_OUTSIDE
            assert b"DKIM-Signature" not in mail.raw, "what comes from outside is not signed as ours"
            elsewhere = await sluis.send(raw, to=[CLERK], sender=SENDER_OUTSIDE, listener="outside")
            assert elsewhere.code == 550, "no open relay"

    asyncio.run(story())


def test_unknown_by_fault_is_451_and_a_list_needs_no_next_hop(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        recipients = (
            "recipients:\n  - {domains: [listed@prosecution.example, gone@prosecution.example], check: list, file: lists/r.txt}\n"
            "  - {domains: [prosecution.example], check: probe, route: inside}\n"
        )
        policy = {"recipients.yaml": recipients, "lists/r.txt": "# who is here\nlisted@prosecution.example\n"}
        behaviour = Behaviour(replies={"RCPT": "451 4.3.0 later"})
        async with Sink(behaviour) as inside, house(tmp_path, database, inside=inside.port, policy=policy) as sluis:
            raw = message("Plea", From=SENDER_OUTSIDE)

            async def ask(address: str) -> int:
                return (await sluis.send(raw, to=[address], sender=SENDER_OUTSIDE, listener="outside")).code

            assert await ask("somebody@prosecution.example") == 451
            assert await ask("gone@prosecution.example") == 550
            assert await ask("postmaster@prosecution.example") == 250, "postmaster is always accepted"
            assert await ask("listed@prosecution.example") == 250

    asyncio.run(story())
