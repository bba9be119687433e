"""The lost 250 (RFC 1047): what a client sends again because it did not hear the receipt is taken once."""

import asyncio
import os
import signal
import smtplib
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from relay.settings.models import Store
from relay.store.engine import open_engine
from relay.store.unheard import UNHEARD
from tests.servers.exim import running_exim
from tests.servers.postfix import running_postfix
from tests.servers.sink import Behaviour, Sink
from tests.stories.dialogue import Dialogue, receipt, stuffed, talking
from tests.stories.house import CLERK, OURS, PASS, SENDER, House, house, message, until
from tests.stories.machines import machine, stopped

LEASE = {"delivery": {"lease": 2}}  # seconds until the claim of a relay that was killed is over, on PostgreSQL


async def unheard(sluis: House, client: Dialogue, raw: bytes) -> None:
    """Sends a whole message and waits until it is in the record; the client reads nothing more."""
    before = len(sluis.rows())
    await client.envelope()
    assert (await client.say("DATA")).startswith("354 ")
    await client.write(stuffed(raw) + b".\r\n")
    await until(lambda: len(sluis.rows()) > before, "the commit")


def test_a_relay_that_was_killed_before_its_250_was_heard_says_it_again_and_delivers_once(tmp_path: Path, database: Store) -> None:
    """It delivers while its client has not heard yet: held before the final dot, so that the kill falls into no delivery."""

    async def story() -> None:
        gate = asyncio.Event()
        async with (
            Sink(Behaviour(gates={"MAIL": gate})) as sink,
            house(tmp_path, database, outside=sink.port, settings=LEASE) as sluis,
        ):
            raw = message()
            async with talking(sluis.port()) as client:
                await unheard(sluis, client, raw)
                await sluis.kill()
            gate.set()
            (row,) = sluis.rows()
            sluis.change_settings("lease = 2", "lease = 60")
            await sluis.start()
            reply = await sluis.send(raw, to=[CLERK], sender=SENDER)
            assert (reply.code, reply.id, reply.commitment) == (250, row.message_id, row.m_commitment)
            await sluis.until_states(reply, "delivered")
            assert len(sluis.rows()) == 1
            assert len(sink.messages) == 1
            (event,) = await sluis.events("adopted")
            assert event["object"] == f"message {row.message_id.hex}"

    asyncio.run(story())


def test_a_client_that_dropped_the_connection_after_the_final_dot_sends_again_and_it_arrives_once(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            raw = message()
            async with talking(sluis.port()) as client:
                await unheard(sluis, client, raw)
                client.hang_up()
            (row,) = sluis.rows()
            await sluis.until_states(row.message_id, "delivered")
            again = [await sluis.send(raw) for _ in range(2)]  # smtplib says QUIT: this time the receipt is heard
            assert again[0].id == row.message_id
            assert again[1].id != row.message_id
            await sluis.until_states(again[1], "delivered")
            assert len(sink.messages) == 2

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_another_client_or_envelope_is_not_adopted_and_a_receipt_that_was_heard_neither(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, Sink() as inside, house(tmp_path, database, outside=sink.port, inside=inside.port) as sluis:
            raw, to = message(From="clerk@court.example"), [SENDER]
            async with talking(sluis.port("outside"), source="127.0.0.2") as client:
                await client.envelope(to, CLERK)
                assert (await client.say("DATA")).startswith("354 ")
                await client.write(stuffed(raw) + b".\r\n")
                first = receipt(await client.hear())
                client.hang_up()  # it heard, and did not show it
            ways: tuple[dict[str, Any], ...] = (
                {"source": "127.0.0.3"},
                {"to": [SENDER, f"other@{OURS}"]},
                {"sender": "judge@court.example"},
                {},
            )
            others = []
            for way in ways:
                reply = await sluis.send(raw, **{"to": to, "sender": CLERK, "listener": "outside", "source": "127.0.0.2", **way})
                others.append(reply.id if reply.code == 250 else None)
            assert others[-1] == first.id, "the same client, envelope and bytes"
            assert first.id not in others[:-1]
            assert None not in others
            assert len(set(others)) == len(others)

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_what_is_in_custody_is_not_refused_because_the_policy_has_changed_meanwhile(tmp_path: Path, database: Store) -> None:
    refuse = PASS + "  - {name: no-hearings, when: {subject_contains: [Hearing]}, then: reject, because: no more hearings}\n"

    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            raw = message()
            async with talking(sluis.port()) as client:
                await unheard(sluis, client, raw)
            (row,) = sluis.rows()
            await sluis.until_states(row.message_id, "delivered")
            sluis.write_policy({"rules/pass.yaml": refuse})
            await sluis.reload()
            assert (await sluis.send(message())).code == 550
            again = await sluis.send(raw)
            assert (again.code, again.id) == (250, row.message_id)
            assert len(sink.messages) == 1

    asyncio.run(story())


def test_a_message_in_chunks_arrives_as_it_was_sent_and_is_adopted_as_one_by_data_would_be(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            raw = message(body="A line.\r\n.A dot before it.\r\n.\r\nThe end.\r\n")
            async with talking(sluis.port()) as client:
                assert "CHUNKING" in client.offered
                await client.envelope()
                await client.write(f"BDAT {len(raw) - 9}\r\n".encode() + raw[:-9] + b"BDAT 9 LAST\r\n" + raw[-9:])
                assert await client.hear() == "250 2.0.0 Chunk ok"
                first = receipt(await client.hear())
                client.hang_up()
            await sluis.until_states(first, "delivered")
            again = await sluis.send(raw)
            assert again.id == first.id
            [arrived] = sink.messages
            assert arrived.raw.endswith(raw)

    asyncio.run(story())


async def submitted(port: int, raw: bytes) -> None:
    """One message to a mail server that relays it."""

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", port, f"desk.{OURS}") as client:
            client.sendmail(SENDER, [CLERK], raw)

    await asyncio.to_thread(send)


def waiting_receipts(store: Store) -> int:
    """Receipts that nobody is known to have heard."""
    engine = open_engine(store)
    try:
        with engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(UNHEARD)).scalar() or 0)
    finally:
        engine.dispose()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_postfix_and_exim_show_that_they_heard_and_exim_sends_in_chunks(tmp_path: Path, database: Store) -> None:
    """Postfix sends QUIT along with the final dot, and waits for no answer to it. A connection that it kept for more mail it closes without
    a word, and has shown nothing then."""
    at_once = {"smtp_connection_cache_on_demand": "no"}

    async def story() -> None:
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port) as sluis,
            running_postfix(tmp_path, relay_port=sluis.port(), settings=at_once) as postfix,
            running_exim(tmp_path, sluis.port()) as exim,
        ):
            for server in (postfix, exim):
                for number in range(3):
                    await submitted(server.port, message(f"Hearing {number}", body="One.\r\n.Two.\r\n"))
            await exim.wait_for_log(r"=> clerk@court\.example .* K ", count=3)
            arrived = await sink.wait_for_messages(6)
            assert all(mail.raw.endswith(b"One.\r\n.Two.\r\n") for mail in arrived)
            await until(lambda: waiting_receipts(database) == 0, "the receipts to be heard")

    asyncio.run(story())


@pytest.mark.parametrize("closing", ["closed", "reset"])
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_client_that_gave_up_one_machine_and_was_heard_by_another_has_its_message_delivered_once(
    tmp_path: Path, database: Store, closing: str
) -> None:
    """The first machine goes on with it when all is over, and finds that nobody is there who could hear its 250."""

    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as one, machine(one, "two") as two:
            raw = message()
            with stopped(one):
                client = socket.create_connection(("127.0.0.1", one.port()))
                whole = f"EHLO mail.{OURS}\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{CLERK}>\r\nDATA\r\n".encode()
                one_by_one(client, one, whole, stuffed(raw) + b".\r\n")
                if closing == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                reply = await two.send(raw)
                await two.until_states(reply, "delivered")
                await until(lambda: waiting_receipts(database) == 0, "the receipt to be heard")
            await until(lambda: "not taken, the client is gone" in one.log(), lambda: one.log()[-2000:])
            assert [row.message_id for row in one.rows()] == [reply.id]
            assert len(sink.messages) == 1
            assert sum(1 for folder in (one.folder / "spool").iterdir() if folder.is_dir() for _ in folder.iterdir()) == 1

    asyncio.run(story())


def one_by_one(client: socket.socket, sluis: House, commands: bytes, content: bytes) -> None:
    """The relay answers each command, and stands still when all of the message is on its way."""
    file = client.makefile("rb")
    os.kill(sluis.pid, signal.SIGCONT)
    assert file.readline().startswith(b"220 ")
    for command in commands.splitlines(keepends=True):
        client.sendall(command)
        while (line := file.readline())[3:4] == b"-":
            pass
        assert line[:1] in b"23", line
    os.kill(sluis.pid, signal.SIGSTOP)
    client.sendall(content)
    file.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_client_that_only_shuts_down_its_side_behind_the_final_dot_is_answered(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            async with talking(sluis.port()) as client:
                await client.envelope()
                assert (await client.say("DATA")).startswith("354 ")
                await client.write(stuffed(message()) + b".\r\n")
                client.shut_down()
                reply = receipt(await client.hear())
                assert reply.code == 250
            await sluis.until_states(reply, "delivered")
            assert len(sink.messages) == 1

    asyncio.run(story())
