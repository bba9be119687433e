"""What may not come in hears a constant text, leaves a record, and never reaches the next hop."""

import asyncio
from pathlib import Path

from relay.settings.models import Store
from tests.servers.sink import Sink
from tests.stories.dialogue import talking
from tests.stories.house import CLERK, SENDER, house, message, until

REJECT = """\
rules:
  - {name: pass, then: deliver, because: ordinary mail}
  - {name: no-lottery, when: {subject_contains: [lottery]}, then: reject, because: a lottery}
  - {name: not-there, when: {recipient: [closed.example]}, then: reject, because: nobody writes there}
"""


def test_a_refused_message_leaves_its_features_and_no_body(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": REJECT}) as sluis:
            reply = await sluis.send(message("You won the lottery"))
            assert (reply.code, reply.text.split()[0]) == (550, "5.7.1")
            assert "lottery" not in reply.text, "the client never hears the rule"
            (row,) = sluis.rows(reply.id)
            assert (row.state, row.m_spool_object) == ("refused", None)
            assert row.m_inspection["header"]["subject"] == "You won the lottery"
            assert list((sluis.folder / "spool").rglob("*.*")) == []
            (event,) = await sluis.events("refused")
            assert event["details"]["digest"] == row.m_digest
            assert sink.messages == []

    asyncio.run(story())


def test_a_rule_that_no_content_can_soften_speaks_at_rcpt(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": REJECT}) as sluis:
            reply = await sluis.send(message(), to=["a@closed.example"])
            assert reply.code == 550
            assert sluis.rows() == [], "no DATA, no message row"
            (event,) = await sluis.events("refused")
            assert "not-there" in event["reason"]

    asyncio.run(story())


def test_who_may_not_send_as_this_is_refused_at_mail_and_in_the_header(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            stranger = await sluis.send(message(), source="127.0.0.9")
            assert (stranger.code, sluis.rows()) == (550, [])
            as_another = await sluis.send(message(), sender="chief@court.example")
            assert (as_another.code, sluis.rows()) == (550, [])
            forged = await sluis.send(message(From="The Chief <chief@court.example>"))
            none = await sluis.send(message(From=""))
            several = await sluis.send(message(From=f"{SENDER}, other@prosecution.example"))
            unreadable = await sluis.send(message(From="nobody in particular"))
            twice = await sluis.send(message().replace(b"To: ", b"From: x@prosecution.example\r\nTo: ", 1))
            assert [reply.code for reply in (forged, none, several, unreadable, twice)] == [550] * 5
            found = [next(item["name"] for item in sluis.rows(reply.id)[0].m_inspection["findings"] if item["inspector"] == "receive")
                     for reply in (forged, none, several, unreadable, twice)]  # fmt: skip
            assert found == ["from-not-allowed", "from-missing", "from-several", "from-unparsable", "from-several"]
            assert sink.messages == []

    asyncio.run(story())


def test_an_empty_message_is_refused_because_nobody_wrote_it(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis, talking(sluis.port()) as client:
            reply = await client.send(b"")
            assert (reply.code, reply.text.split()[0]) == (550, "5.7.1")
            (row,) = sluis.rows(reply.id)
            assert (row.state, row.m_size) == ("refused", 0)
            assert [item["name"] for item in row.m_inspection["findings"] if item["inspector"] == "receive"] == ["from-missing"]
            assert sink.messages == []

    asyncio.run(story())


def test_bare_line_ends_are_refused_after_the_final_dot_and_are_never_a_second_message(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            smuggled = b"\n.\r\nMAIL FROM:<chief@prosecution.example>\r\nRCPT TO:<clerk@court.example>\r\nDATA\r\n" + message("Smuggled")
            for bad in (b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", smuggled):
                reply = await sluis.send(message(body="") + bad)
                assert reply.code in (550, 554), bad
            assert sink.messages == []
            assert [row.state for row in sluis.rows()] == ["refused"] * 4

    asyncio.run(story())


def test_a_client_whose_policy_says_so_has_them_put_right_and_that_is_recorded(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        clients = (
            "clients:\n  - {name: old-scanner, side: inside, addresses: [127.0.0.1/32], require_tls: false,"
            ' may_send_as: [prosecution.example], may_send_to: ["*"], line_ends: normalise}\n'
        )
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"clients.yaml": clients}) as sluis:
            reply = await sluis.send(message(body="one\ntwo\rthree\0\r\n"))
            await sluis.until_states(reply, "delivered")
            assert sink.messages[0].raw.endswith(b"\r\n\r\none\r\ntwo\r\nthree\r\n")
            (event,) = await sluis.events("accepted")
            assert event["details"]["normalised"] is True

    asyncio.run(story())


def test_no_rule_holds_with_an_alert(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        policy = {"rules/pass.yaml": "rules:\n  - {name: pass, when: {recipient: [elsewhere.example]}, then: deliver, because: ordinary}\n"}
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=policy) as sluis:
            reply = await sluis.send(message(), to=[CLERK])
            assert reply.code == 250
            assert sluis.states(reply.id) == ["held"]
            await until(lambda: '"alert": "no-rule"' in sluis.log(), "the alert")
            assert sink.messages == []

    asyncio.run(story())
