"""Limits: who goes over one hears so, and nobody else notices."""

import asyncio
import contextlib
import socket

import pytest

from relay.listen.limits import REMEMBERED, ConnectionLimits
from relay.listen.replies import TOO_MANY_CONNECTIONS
from relay.listen.states import State
from tests.stages.listen.listening import Door, Line, listener, listening, run


async def greeting(port: int, source: str = "127.0.0.1") -> tuple[str, Line]:
    """The first reply to a connection from `source`."""
    line = Line(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))
    return await line.hear(), line


@pytest.mark.parametrize(
    ("limit", "source", "others"),
    [
        pytest.param({"connections": 2}, "127.0.0.1", [], id="all connections"),
        pytest.param({"connections_per_address": 2}, "127.0.0.1", ["127.0.0.2"], id="connections of one address"),
        pytest.param({"connections_per_minute": 2}, "127.0.0.1", ["127.0.0.2"], id="new connections in a minute"),
    ],
)
def test_one_connection_too_many_hears_421_and_the_others_go_on(loop: str, limit: dict[str, int], source: str, others: list[str]) -> None:
    async def dialogue() -> None:
        async with listening(None, listener(**limit)) as door, contextlib.AsyncExitStack() as stack:
            lines = [await door.connect(), await door.connect()]
            said, extra = await greeting(door.port, source)
            assert said == str(TOO_MANY_CONNECTIONS)
            assert await extra.ended()
            for other in others:
                said, line = await greeting(door.port, other)
                assert said.startswith("220")
                lines.append(line)
            for line in [*lines, extra]:
                stack.push_async_callback(line.close)
            for line in lines:
                await line.to_data()
                line.send(b".\r\n")
                assert (await line.hear()).startswith("250")

    run(dialogue(), loop)


def test_a_connection_that_ended_makes_room_for_another(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(connections=1) as door:
            for _ in range(3):
                line = await door.connect()
                assert (await line.say("QUIT")).startswith("221")
                assert await line.ended()
                await line.close()
                for session in list(door.listeners.groups["door"].sessions):
                    await session.task
            assert door.listeners.groups["door"].limits.open == 0

    run(dialogue(), loop)


def test_behind_a_proxy_the_address_of_the_client_counts(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(connections_per_address=1, proxy_from=("127.0.0.1/32",)) as door, contextlib.AsyncExitStack() as stack:
            for address, code in (("192.0.2.7", "220"), ("192.0.2.8", "220"), ("192.0.2.7", "421")):
                line = Line(*await asyncio.open_connection("127.0.0.1", door.port))
                stack.push_async_callback(line.close)
                line.send(f"PROXY TCP4 {address} 198.51.100.1 40000 25\r\n".encode())
                assert (await line.hear()).startswith(code)

    run(dialogue(), loop)


def test_hosts_of_one_ipv6_network_count_as_one() -> None:
    limits = ConnectionLimits(listener(connections_per_address=2))
    assert [limits.admit(f"2001:db8:0:1::{host}") for host in (1, 2, 3)] == [True, True, False]
    assert limits.admit("2001:db8:0:2::1")
    limits.leave("2001:db8:0:1::1")
    limits.leave("2001:db8:0:1::2")
    assert limits.admit("2001:db8:0:1::4")


def test_a_limit_that_was_raised_counts_from_then_on() -> None:
    limits = ConnectionLimits(listener(connections_per_minute=1))
    assert [limits.admit("192.0.2.7") for _ in range(2)] == [True, False]
    limits.settings = listener(connections_per_minute=5)
    assert [limits.admit("192.0.2.7") for _ in range(4)] == [True, True, True, False]


def test_memory_of_addresses_is_bounded() -> None:
    limits = ConnectionLimits(listener(connections=10**6))
    for number in range(REMEMBERED + 500):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        limits.admit(address)
        limits.leave(address)
    assert len(limits._recent) == REMEMBERED


def test_a_client_that_reads_no_replies_is_cut_off(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    """It shuts its own window and goes on talking; nobody waits for it for ever, and nobody else waits for it at all."""

    async def talk(deaf: socket.socket) -> None:
        running = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                await running.sock_sendall(deaf, b"RCPT TO:<piet@partner.example>\r\n" * 1000)

    async def dialogue() -> None:
        async with listening(command_timeout=1, recipients=100) as door:
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", door.port))
            await until_asked(door, State.START)
            deaf.send(b"EHLO deaf.example\r\n")
            await until_asked(door, State.GREETED)
            deaf.send(b"MAIL FROM:<jan@example.nl>\r\n")
            talking = asyncio.create_task(talk(deaf))
            other = await door.connect()
            assert (await other.say("EHLO other.example")).startswith("250")
            await other.close()
            await talking
            deaf.close()

    with caplog.at_level("INFO", "sluis.listen"):
        run(dialogue(), loop)
    assert [record.__dict__["fields"]["reason"] for record in caplog.records] == ["the client reads no replies"]


async def until_asked(door: Door, state: State) -> None:
    """Until a session of the relay waits for a command in this state."""
    while not any(session.idle and session.state is state for session in door.listeners.groups["door"].sessions):
        await asyncio.sleep(0)


def test_it_listens_on_ipv4_and_ipv6_with_several_addresses(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(addresses=("127.0.0.1:0", "127.0.0.2:0", "[::1]:0")) as door:
            assert [host for _, host, _ in door.bound] == ["127.0.0.1", "127.0.0.2", "::1"]
            for _, host, port in door.bound:
                line = Line(*await asyncio.open_connection(host, port))
                assert (await line.hear()).startswith("220")
                await line.to_data()
                line.send(b".\r\n")
                assert (await line.hear()).startswith("250")
                taken = door.intake.messages[-1]
                assert (taken.peer.local_address, taken.peer.local_port) == (host, port)
                assert taken.peer.address == ("::1" if host == "::1" else "127.0.0.1")
                await line.close()

    run(dialogue(), loop)


def test_a_bug_in_one_session_takes_no_other_down(loop: str) -> None:
    async def dialogue() -> None:
        async with listening() as door:
            door.intake.bug_at = "bug@example.nl"
            line, other = await door.connect(), await door.connect()
            await other.say("EHLO other.example")
            await line.say("EHLO client.example")
            assert await line.say("MAIL FROM:<bug@example.nl>") == "451 4.3.0 Local fault, try again later"
            assert await line.ended()
            assert (await other.say("MAIL FROM:<jan@example.nl>")).startswith("250")
            assert door.listeners.counts.bugs == 1
            await line.close()
            await other.close()

    run(dialogue(), loop)


def test_a_client_that_is_gone_before_it_is_greeted_is_no_bug(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(proxy_from=("127.0.0.0/8",)) as proxied, listening() as door:
            for port in (proxied.port, door.port):
                for _ in range(20):
                    with socket.create_connection(("127.0.0.1", port)) as early:
                        early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
            line = await door.connect()
            assert (await line.say("NOOP")).startswith("250")
            await line.close()

    run(dialogue(), loop)
