"""A Deliverer with test settings, and one call that delivers bytes to recipients."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from relay.deliver.deliverer import Deliverer
from relay.model.envelope import Recipient, Sender
from relay.model.message import Outcome, Signed
from relay.policy.models import Route, TlsLevel
from relay.settings.models import Delivery, Settings
from tests.fakes.custody import MemoryBody, claimed, stored
from tests.fakes.dns import FakeResolver
from tests.servers.sink import Sink
from tests.stages.listen.clock import MovedAsyncio

MESSAGE = b"From: jan@example.nl\r\nTo: piet@partner.example\r\nSubject: Hoi\r\n\r\nBeste Piet,\r\n.\r\n..twee\r\nGroet\r\n"
PREFIX = b"Received: from mail.example.nl by relay.example.nl; Mon, 23 Nov 2026 10:00:00 +0000\r\n"
Result = TypeVar("Result")
OPEN: list[Deliverer] = []
"""What `run` closes at the end."""


def run(coroutine: Coroutine[Any, Any, Result], timeout: float = 30) -> Result:
    """Runs one test dialogue to its end; it may put the clock forward (`silence`)."""

    async def bounded() -> Result:
        try:
            async with asyncio.timeout(timeout):
                return await coroutine
        finally:
            while OPEN:
                await OPEN.pop().close()

    with asyncio.Runner(loop_factory=MovedAsyncio) as runner:
        return runner.run(bounded())


def settings(**delivery: Any) -> Settings:
    """Short times, so that a sink that hangs ends a test soon."""
    secrets = delivery.pop("secrets", Path("/nonexistent"))
    listeners = delivery.pop("listeners", ())
    values = {"connect_timeout": 5.0, "command_timeout": 5.0, "data_timeout": 5.0, "schedule": (0.000_1, 1.0), **delivery}
    return Settings(hostname="relay.example.nl", secrets=secrets, listeners=listeners, delivery=Delivery(**values))


def route(sink: Sink | int, **changes: Any) -> Route:
    """A smart host route to the sink, without TLS unless a test says so."""
    port = sink if isinstance(sink, int) else sink.port
    return Route(**{"name": "out", "to": ("*",), "smart_host": f"127.0.0.1:{port}", "tls": TlsLevel.NONE, **changes})


@contextlib.asynccontextmanager
async def kept_port() -> AsyncIterator[Sink]:
    """A sink whose port nobody gets while it is stopped: a socket that does not listen is bound to it, too (SO_REUSEADDR, socket(7))."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        sink = Sink()
        await sink.start(kept.getsockname()[1])
        try:
            yield sink
        finally:
            await sink.stop()


async def marked() -> None:
    """A durable mark that always succeeds."""


async def deliver(
    deliverer: Deliverer,
    way: Route,
    recipients: Sequence[str | Recipient] = ("piet@partner.example",),
    message: bytes = MESSAGE,
    *,
    sender: str | Sender | None = "jan@example.nl",
    mark: Callable[[], Awaitable[None]] = marked,
    skip: tuple[tuple[int, int], ...] = (),
    piece: int = 65_536,
    **changes: Any,
) -> list[Outcome]:
    """Delivers one message."""
    signed = Signed(claimed(stored(message, sender, **changes), recipients, way.name), PREFIX, skip)
    return await deliverer.deliver(signed, way, lambda: MemoryBody(message, piece), mark)


def deliverer(resolver: FakeResolver | None = None, **delivery: Any) -> Deliverer:
    """A new Deliverer; by default DNS knows nothing."""
    OPEN.append(Deliverer(settings(**delivery), resolver or FakeResolver()))
    return OPEN[-1]
