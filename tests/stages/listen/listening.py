"""Listeners on free ports of loopback with a fake road behind them, under either event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import uvloop

from relay.listen.server import Listeners
from relay.model.client import Side
from relay.settings.models import Listener, Settings
from tests.fakes.intake import FakeIntake

HOSTNAME = "relay.example.nl"
Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]
LOOPS: Loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
Result = TypeVar("Result")


def run(dialogue: Coroutine[Any, Any, Result], loop: str = "asyncio", timeout: float = 30, loops: Loops = LOOPS) -> Result:
    """Runs one test dialogue to its end; a hang is a failure. With MOVED as `loops` the dialogue may put the clock forward."""

    async def bounded() -> Result:
        async with asyncio.timeout(timeout):
            return await dialogue

    with asyncio.Runner(loop_factory=loops[loop]) as runner:
        return runner.run(bounded())


def listener(**changes: Any) -> Listener:
    """One listener in clear text, unless `changes` say more."""
    given = {"name": "door", "side": Side.INSIDE, "addresses": ("127.0.0.1:0",), "require_tls": False}
    return Listener(**{**given, **changes})


def settings(*listeners: Listener) -> Settings:
    """Settings with just these listeners."""
    return Settings(hostname=HOSTNAME, listeners=listeners)


class Door:
    """A running relay door: `port` of its first socket, its listeners and the road behind them."""

    def __init__(self, listeners: Listeners, intake: FakeIntake, bound: list[tuple[str, str, int]]) -> None:
        self.listeners = listeners
        self.intake = intake
        self.bound = bound
        self.port = bound[0][2]

    async def connect(self, **options: Any) -> "Line":
        """A client that has heard the greeting. AssertionError: it heard something else, or nothing."""
        line = Line(*await asyncio.open_connection("127.0.0.1", self.port, limit=1_000_000, **options))
        try:
            assert (await line.hear()).startswith("220 ")
        except BaseException:
            line.writer.transport.abort()
            raise
        return line


class Line:
    """A client: says lines, hears replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    async def hear(self) -> str:
        """One whole reply without its last CRLF; empty where the relay closed."""
        reply = b""
        while True:
            line = await self.reader.readline()
            reply += line
            if not line or line[3:4] == b" ":
                return reply.decode("ascii").removesuffix("\r\n")

    async def say(self, text: str) -> str:
        """One command and its reply."""
        self.send(text.encode() + b"\r\n")
        return await self.hear()

    async def to_data(self, sender: str = "jan@example.nl", *recipients: str) -> None:
        """As far as 354."""
        assert (await self.say("EHLO client.example")).startswith("250")
        assert (await self.say(f"MAIL FROM:<{sender}>")).startswith("250")
        for recipient in recipients or ("piet@partner.example",):
            assert (await self.say(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await self.say("DATA")).startswith("354")

    async def ended(self) -> bool:
        """Waits until the relay has closed; whether it said nothing more."""
        try:
            return not await self.reader.read()
        except ConnectionError:
            return True

    async def close(self) -> None:
        """Hangs up."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def listening(intake: FakeIntake | None = None, *listeners: Listener, **changes: Any) -> AsyncIterator[Door]:
    """A door that is open until the block ends. A bug in a session fails the test, unless the road was told to have one."""
    road = intake or FakeIntake()
    running = Listeners(settings(*(listeners or (listener(**changes),))), road)
    door = Door(running, road, await running.start())
    try:
        yield door
        assert running.counts.bugs == 0 or road.bug_at
    finally:
        await running.close(deadline=2)
