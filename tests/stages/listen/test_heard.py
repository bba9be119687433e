"""When a receipt counts as heard (RFC 1047): never too early, for what was not heard and is sent again must not be delivered twice."""

import asyncio
import ctypes
import hashlib
import socket
import struct

import pytest

from relay.listen.channel import ALONG_SECONDS
from tests.fakes.intake import FakeIntake
from tests.stages.listen.clock import MOVED, silence
from tests.stages.listen.listening import Door, Line, listening, run
from tests.stages.listen.test_commit import MESSAGE, reset, until_alone

RECEIPT = hashlib.sha256(MESSAGE.removesuffix(b".\r\n")).hexdigest().encode()


async def taken(line: Line) -> None:
    """One message, and its receipt."""
    await line.to_data()
    line.send(MESSAGE)
    assert (await line.hear()).startswith("250 2.0.0 Ok: queued as")


@pytest.mark.parametrize("command", ["NOOP", "RSET", "QUIT", "MAIL FROM:<els@example.nl>", "nonsense", "EHLO again.example"])
def test_any_command_after_the_receipt_shows_that_it_was_heard(loop: str, command: str) -> None:
    async def dialogue() -> None:
        async with listening() as door:
            line = await door.connect()
            await taken(line)
            assert door.intake.told == []
            await line.say(command)
            assert door.intake.told == [RECEIPT]
            await line.say("NOOP")
            await line.close()
            await until_alone(door)
            assert door.intake.told == [RECEIPT], "once"

    run(dialogue(), loop)


def test_a_client_that_says_nothing_more_has_perhaps_not_heard(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(command_timeout=20) as door:
            silent, closing, resetting = [await door.connect() for _ in range(3)]
            for line in (silent, closing, resetting):
                await taken(line)
            await closing.close()
            reset(resetting)
            await silence(20)
            assert (await silent.hear()).startswith("421 4.4.2")
            await silent.close()
            await until_alone(door)
            assert door.intake.told == []

    run(dialogue(), loop, timeout=60, loops=MOVED)


async def before_the_gate(door: Door, behind: bytes) -> Line:
    """A message that waits to be taken, and what was sent along behind it."""
    line = await door.connect()
    await line.to_data()
    line.send(MESSAGE + behind)
    await door.intake.waiting.wait()
    return line


def test_a_command_that_was_sent_ahead_of_the_receipt_shows_nothing(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event()), command_timeout=20) as door:
            line = await before_the_gate(door, b"NOOP\r\nMAIL FROM:<els@example.nl>\r\n")
            assert door.intake.gate is not None
            door.intake.gate.set()
            assert (await line.hear()).startswith("250 2.0.0 Ok: queued as")
            assert [(await line.hear())[:3] for _ in range(2)] == ["250", "250"]
            await silence(20)
            assert (await line.hear()).startswith("421 4.4.2")
            await line.close()
            await until_alone(door)
            assert door.intake.told == []

    run(dialogue(), loop, timeout=60, loops=MOVED)


def test_a_quit_that_was_sent_along_with_the_final_dot_waits_until_the_receipt_has_arrived(loop: str) -> None:
    """As Postfix does for the last message of a session."""

    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line = await before_the_gate(door, b"QUIT\r\n")
            assert door.intake.gate is not None
            door.intake.gate.set()
            assert (await line.hear()).startswith("250 2.0.0 Ok: queued as")
            assert await line.hear() == "221 2.0.0 Bye"
            assert door.intake.told == [RECEIPT]
            await line.close()

    run(dialogue(), loop)


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_a_client_that_gave_up_before_its_receipt_has_not_heard_it_whatever_it_sent_ahead(loop: str, kind: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line = await before_the_gate(door, b"QUIT\r\n")
            if kind == "reset":
                reset(line)
            else:
                await line.close()
            assert door.intake.gate is not None
            door.intake.gate.set()
            await until_alone(door)
            assert len(door.intake.messages) == 1
            assert door.intake.told == []

    run(dialogue(), loop)


def test_a_message_that_was_refused_has_no_receipt(loop: str) -> None:
    async def dialogue() -> None:
        async with listening() as door:
            line = await door.connect()
            await line.to_data()
            line.send(b"bare\nLF\r\n.\r\n")
            assert (await line.hear()).startswith("550")
            await line.say("QUIT")
            await line.close()
            assert door.intake.told == []

    run(dialogue(), loop)


def test_a_receipt_after_chunks_and_one_under_lmtp_are_heard_the_same_way(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(side="outside", protocol="lmtp") as door:
            line = await door.connect()
            for command in ("LHLO edge.example", "MAIL FROM:<>", "RCPT TO:<jan@example.nl>", "RCPT TO:<els@example.nl>"):
                assert (await line.say(command)).startswith("250")
            text = MESSAGE.removesuffix(b".\r\n")
            line.send(f"BDAT {len(text)} LAST\r\n".encode() + text)
            assert [(await line.hear())[:3] for _ in range(2)] == ["250", "250"]
            await line.say("QUIT")
            assert door.intake.told == [RECEIPT]
            await line.close()

    run(dialogue(), loop)


def deafen(line: Line, *, deaf: bool = True) -> None:
    """From now on nothing that is sent to this client arrives, as on a long way that the reply has not come yet (socket(7))."""
    connection = line.writer.get_extra_info("socket")
    nothing = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))  # BPF_RET: no octet is let through
    program = struct.pack("@HP", 1, ctypes.addressof(nothing))
    connection.setsockopt(socket.SOL_SOCKET, 26 if deaf else 27, program)  # SO_ATTACH_FILTER, SO_DETACH_FILTER


def test_a_quit_that_crossed_the_receipt_on_its_way_shows_nothing(loop: str) -> None:
    """The client has lost its patience in the moment in which it was answered."""

    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line = await before_the_gate(door, b"")
            deafen(line)
            assert door.intake.gate is not None
            door.intake.gate.set()
            [session] = next(iter(door.listeners.groups.values())).sessions
            while not session.mailing.unheard:
                await asyncio.sleep(0.001)
            line.send(b"QUIT\r\n")
            await until_alone(door)
            assert door.intake.told == []
            deafen(line, deaf=False)
            assert (await line.hear()).startswith("250 2.0.0 Ok: queued as")
            await line.close()

    run(dialogue(), loop)


def test_a_quit_long_after_the_final_dot_and_before_the_receipt_shows_that_the_client_gave_up(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line = await before_the_gate(door, b"")
            await silence(2 * ALONG_SECONDS)
            line.send(b"QUIT\r\n")
            [session] = next(iter(door.listeners.groups.values())).sessions
            while not session.pending():
                await asyncio.sleep(0.001)
            assert door.intake.gate is not None
            door.intake.gate.set()
            assert (await line.hear()).startswith("250 2.0.0 Ok: queued as")
            assert await line.hear() == "221 2.0.0 Bye"
            assert door.intake.told == []
            await line.close()

    run(dialogue(), loop, loops=MOVED)


def test_a_command_after_one_that_was_sent_ahead_shows_that_the_receipt_was_heard(loop: str) -> None:
    async def dialogue() -> None:
        async with listening() as door:
            line = await door.connect()
            await line.to_data()
            line.send(MESSAGE + b"MAIL FROM:<els@example.nl>\r\n")
            assert [(await line.hear())[:3] for _ in range(2)] == ["250", "250"]
            assert door.intake.told == []
            await line.say("NOOP")
            assert door.intake.told == [RECEIPT]
            await line.close()

    run(dialogue(), loop)
