"""Chunks: what a client that goes away leaves behind, how slow it may be, and that memory does not grow with the size of a chunk."""

import asyncio
import hashlib
import tracemalloc

import pytest

from relay.model.message import Body
from relay.receive.transaction import Transaction
from tests.fakes.intake import FakeIntake, MemoryWriter
from tests.stages.listen.clock import MOVED, silence
from tests.stages.listen.listening import Line, listening, run
from tests.stages.listen.test_commit import reset, until_alone

MEGABYTE = 1_000_000


class CountingWriter(MemoryWriter):
    """Keeps nothing but the size."""

    size = 0

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)

    def finish(self, normalised: bool) -> Body:
        return Body("none", self.size, hashlib.sha256(b"").hexdigest(), "", b"", b"", normalised)


class CountingIntake(FakeIntake):
    """Bodies of any size."""

    def open_body(self, transaction: Transaction) -> MemoryWriter:
        self.writers.append(CountingWriter())
        return self.writers[-1]


async def to_chunks(line: Line) -> None:
    """As far as the first chunk."""
    for command in ("EHLO client.example", "MAIL FROM:<jan@example.nl>", "RCPT TO:<piet@partner.example>"):
        assert (await line.say(command)).startswith("250")


@pytest.mark.parametrize("after", [b"BDAT 10\r\nabc", b"BDAT 3\r\nabc", b"BDAT 3\r\nabcBDAT 10 LAST\r\nabc"])
def test_a_client_that_goes_away_amid_its_chunks_leaves_nothing_behind(loop: str, after: bytes) -> None:
    async def dialogue() -> None:
        async with listening() as door:
            line = await door.connect()
            await to_chunks(line)
            line.send(after)
            [group] = door.listeners.groups.values()
            while not door.intake.writers:
                await asyncio.sleep(0.001)
            reset(line)
            await until_alone(door)
            assert not group.sessions
            assert door.intake.messages == []
            assert [writer.discarded for writer in door.intake.writers] == [True]

    run(dialogue(), loop)


def test_a_slow_chunk_may_take_longer_than_the_time_for_one_piece_of_it(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(data_timeout=20) as door:
            line = await door.connect()
            await to_chunks(line)
            line.send(b"BDAT 21 LAST\r\n")
            for octet in b"Subject: slow\r\n\r\nok\r":
                line.send(bytes([octet]))
                await silence(5)
            line.send(b"\n")
            assert (await line.hear()).startswith("250 2.0.0 Ok: queued as")
            await line.close()
        assert [taken.raw for taken in door.intake.messages] == [b"Subject: slow\r\n\r\nok\r\n"]

    run(dialogue(), loop, timeout=600, loops=MOVED)


def test_a_relay_that_stops_says_so_between_two_chunks_and_takes_nothing(loop: str) -> None:
    async def dialogue() -> None:
        async with listening() as door:
            line = await door.connect()
            await to_chunks(line)
            line.send(b"BDAT 3\r\na\r\n")
            assert await line.hear() == "250 2.0.0 Chunk ok"
            await door.listeners.close(deadline=2)
            assert await line.hear() == "421 4.3.2 Closing down, try again later"
            assert await line.ended()
            await line.close()
            assert door.intake.messages == []
            assert [writer.discarded for writer in door.intake.writers] == [True]

    run(dialogue(), loop)


@pytest.mark.parametrize("limit", [100 * MEGABYTE, MEGABYTE], ids=["taken", "swallowed"])
def test_memory_does_not_grow_with_the_size_of_a_chunk(limit: int) -> None:
    piece, pieces = b"x" * 98 + b"\r\n", 200_000

    async def dialogue() -> int:
        async with listening(CountingIntake(), message_size=limit) as door:
            line = await door.connect()
            await to_chunks(line)
            tracemalloc.start()
            line.send(f"BDAT {len(piece) * pieces} LAST\r\n".encode())
            for _ in range(0, pieces, 500):
                line.send(piece * 500)
                await line.writer.drain()
            said = await line.hear()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert said.startswith("250 2.0.0 Ok" if limit > MEGABYTE else "552 5.3.4")
            await line.close()
            return peak

    assert run(dialogue()) < 3 * MEGABYTE


def test_commands_that_bring_no_mail_are_counted_and_so_are_empty_chunks(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(commands_without_mail=10) as door:
            line = await door.connect()
            await to_chunks(line)
            said = [await line.say("BDAT 0") for _ in range(9)]
            assert said == ["250 2.0.0 Chunk ok"] * 9
            line.send(b"BDAT 0\r\n")
            assert await line.hear() == "250 2.0.0 Chunk ok"
            assert (await line.hear()).startswith("421 4.7.0 Too many commands")
            assert await line.ended()
            await line.close()

    run(dialogue(), loop)
