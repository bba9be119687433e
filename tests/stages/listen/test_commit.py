"""From the last byte of DATA on, a message is brought to its end, whatever the client does."""

import asyncio
import socket
import ssl
import struct

from relay.settings.models import TlsFiles
from tests.fakes.intake import FakeIntake
from tests.servers.certificates import Authority
from tests.stages.listen.clock import MOVED, silence
from tests.stages.listen.listening import HOSTNAME, Door, Line, listening, run

MESSAGE = b"Subject: one\r\n\r\nhello\r\n.\r\n"


def reset(line: Line) -> None:
    """Hangs up with a TCP reset."""
    connection = line.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.writer.transport.abort()


async def until_alone(door: Door) -> None:
    """Waits until no session is left."""
    [group] = door.listeners.groups.values()
    while group.sessions:
        await asyncio.wait([session.task for session in group.sessions])


def test_a_client_that_shuts_down_its_side_behind_the_final_dot_hears_the_receipt(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line = await door.connect()
            await line.to_data()
            line.send(MESSAGE)
            line.writer.write_eof()
            await door.intake.waiting.wait()
            assert door.intake.gate is not None
            door.intake.gate.set()
            assert (await line.hear()).startswith("250 2.0.0 Ok: queued as ")
            assert await line.ended()
            assert [taken.raw for taken in door.intake.messages] == [b"Subject: one\r\n\r\nhello\r\n"]
            await line.close()

    run(dialogue(), loop)


def test_a_message_is_committed_although_its_client_is_gone_during_inspection(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line = await door.connect()
            await line.to_data()
            line.send(MESSAGE)
            await door.intake.waiting.wait()
            reset(line)
            other = await door.connect()
            assert (await other.say("EHLO other.example")).startswith("250")
            assert door.intake.messages == []
            assert door.intake.gate is not None
            door.intake.gate.set()
            await other.close()
            await until_alone(door)
            assert len(door.intake.messages) == 1

    run(dialogue(), loop)


def test_a_message_that_came_in_whole_is_committed_although_its_client_has_hung_up_already(loop: str) -> None:
    """The dot and the end of the connection are in the socket together, before the relay reads either."""

    async def dialogue() -> None:
        async with listening() as door:
            line = await door.connect()
            await line.to_data()
            line.send(MESSAGE)
            line.writer.close()
            await line.writer.wait_closed()
            await until_alone(door)
            assert len(door.intake.messages) == 1

    run(dialogue(), loop)


def test_a_message_that_came_in_whole_through_tls_is_committed_although_its_client_has_hung_up(
    loop: str, files: TlsFiles, authority: Authority
) -> None:
    async def dialogue() -> None:
        async with listening(tls=files, implicit_tls=True) as door:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            line = await door.connect(ssl=context, server_hostname=HOSTNAME)
            await line.to_data()
            line.send(MESSAGE)
            await line.close()
            await until_alone(door)
            assert len(door.intake.messages) == 1

    run(dialogue(), loop)


def test_half_a_message_leaves_nothing_behind(loop: str) -> None:
    async def dialogue() -> None:
        async with listening() as door:
            line = await door.connect()
            await line.to_data()
            line.send(MESSAGE.removesuffix(b".\r\n"))
            reset(line)
            await until_alone(door)
            assert door.intake.messages == []
            assert [writer.discarded for writer in door.intake.writers] == [True]

    run(dialogue(), loop)


def test_the_time_of_a_session_does_not_run_out_on_a_message_that_came_in_whole(loop: str) -> None:
    """A 421 there would bring the message a second time."""

    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event()), session_timeout=20) as door:
            line = await door.connect()
            await line.to_data()
            line.send(MESSAGE)
            await door.intake.waiting.wait()
            idle = await door.connect()
            await silence(20)
            assert (await idle.hear()).startswith("421 4.4.2")  # so much time is over
            assert door.intake.gate is not None
            door.intake.gate.set()
            assert (await line.hear()).startswith("250 2.0.0")
            assert (await line.hear()).startswith("421 4.4.2")
            await line.close()
            await idle.close()

    run(dialogue(), loop, timeout=60, loops=MOVED)


def test_a_stop_finishes_the_message_that_is_being_taken_and_ends_the_idle(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(FakeIntake(gate=asyncio.Event())) as door:
            line, idle = await door.connect(), await door.connect()
            await line.to_data()
            line.send(MESSAGE)
            await door.intake.waiting.wait()
            stopping = asyncio.create_task(door.listeners.close(deadline=20))
            assert await idle.hear() == "421 4.3.2 Closing down, try again later"
            assert await idle.ended()
            assert not stopping.done()
            assert door.intake.gate is not None
            door.intake.gate.set()
            assert (await line.hear()).startswith("250 2.0.0")
            assert (await line.hear()).startswith("421 4.3.2")
            await stopping
            await line.close()
            await idle.close()

    run(dialogue(), loop)


def test_a_stop_waits_for_a_slow_sender_no_longer_than_its_deadline(loop: str) -> None:
    async def dialogue() -> None:
        async with listening() as door:
            line = await door.connect()
            await line.to_data()
            line.send(b"Subject: slo")
            await door.listeners.close(deadline=0.2)
            assert await line.ended()
            await line.close()
            assert door.intake.messages == []

    run(dialogue(), loop)
