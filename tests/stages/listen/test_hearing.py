"""Who can still hear a receipt: a client that is gone is told apart from one that has only shut down its side."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable

import pytest

from relay.listen.hearing import Hearing
from relay.model.reply import Reply
from relay.settings.models import TlsFiles
from tests.fakes.intake import FakeIntake
from tests.servers.certificates import Authority
from tests.stages.listen.listening import HOSTNAME, Door, Line, listening, run
from tests.stages.listen.test_commit import MESSAGE, reset, until_alone
from tests.stages.listen.test_heard import deafen

ACCEPTED = Reply(250, 0, 0, "Ok: queued")
LATER = Reply(451, 3, 0, "Try again later")


async def at_the_gate(door: Door, **options: object) -> tuple[Line, Hearing]:
    """A client whose message is being inspected."""
    line = await door.connect(**options)
    await line.to_data()
    line.send(MESSAGE)
    await door.intake.waiting.wait()
    [session] = next(iter(door.listeners.groups.values())).sessions
    return line, Hearing(session)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def over(door: Door) -> None:
    assert door.intake.gate is not None
    door.intake.gate.set()


def test_a_client_that_waits_has_not_left(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line, hearing = await at_the_gate(door)
            assert not hearing.left()
            over(door)
            assert (await line.hear()).startswith("250")
            await line.close()

    run(dialogue(), loop)


def test_one_that_shut_down_its_side_has_left_and_hears_all_the_same(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line, hearing = await at_the_gate(door)
            line.writer.write_eof()
            await until(hearing.left)
            assert await hearing.hears(250)
            over(door)
            assert (await line.hear()).startswith("250 2.0.0 Ok: queued as"), "the reply is whole, and once"
            assert await line.ended()
            await line.close()

    run(dialogue(), loop)


def test_a_reply_that_is_another_than_was_begun_is_not_said(loop: str) -> None:
    async def dialogue() -> None:
        answers = {"piet@partner.example": LATER}
        async with listening(FakeIntake(gate=asyncio.Event(), answers=answers)) as door:
            line, hearing = await at_the_gate(door)
            line.writer.write_eof()
            await until(hearing.left)
            assert await hearing.hears(250)
            over(door)
            await until_alone(door)
            assert len(door.intake.messages) == 1
            reply = b""
            with contextlib.suppress(ConnectionError):
                reply = await line.reader.read()
            assert reply in (b"", b"2"), "no client takes that for a reply"
            await line.close()

    run(dialogue(), loop)


@pytest.mark.parametrize("kind", ["closed", "reset"])
def test_one_that_is_gone_does_not_hear(loop: str, kind: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line, hearing = await at_the_gate(door)
            if kind == "reset":
                reset(line)
            else:
                await line.close()
            await until(hearing.left)
            assert not await hearing.hears(250)
            over(door)
            await until_alone(door)

    run(dialogue(), loop)


def test_a_connection_that_is_closed_here_has_left_and_hears_nothing(loop: str) -> None:
    """Asked from the thread that commits, in the moment in which the event loop closes the socket."""

    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line, hearing = await at_the_gate(door)
            [session] = next(iter(door.listeners.groups.values())).sessions
            transport = session.transport
            found = transport.get_extra_info("socket")
            transport.abort()
            await until(lambda: found.fileno() < 0)
            session.transport = transport  # as that thread saw it
            assert hearing.left()
            assert not await session.arrived()
            session.transport = None
            over(door)
            await until_alone(door)
            await line.close()

    run(dialogue(), loop)


@pytest.mark.parametrize("kind", ["closed", "reset"])
def test_one_that_is_gone_behind_tls_does_not_hear(loop: str, kind: str, files: TlsFiles, authority: Authority) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event()), tls=files, implicit_tls=True) as door:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            line, hearing = await at_the_gate(door, ssl=context, server_hostname=HOSTNAME)
            if kind == "reset":
                reset(line)
            else:
                await line.close()
            await until(hearing.left)
            assert not await hearing.hears(250)
            over(door)
            await until_alone(door)

    run(dialogue(), loop)


def test_where_nothing_is_confirmed_nobody_is_believed_to_hear(loop: str) -> None:
    """A network that takes everything and brings nothing: the client is at the other end, perhaps."""

    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line, hearing = await at_the_gate(door)
            line.writer.write_eof()
            await until(hearing.left)
            deafen(line)
            assert not await hearing.hears(250)
            over(door)
            line.writer.transport.abort()
            await until_alone(door)

    run(dialogue(), loop)
