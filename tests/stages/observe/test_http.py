"""The monitoring port: three pages, and nothing that a hostile caller sends does more than close the connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relay.model.errors import ConfigurationError, StoreError
from relay.observe.http import HttpServer
from relay.settings.models import Http


class Shown:
    """What is shown; a test may make it fail."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.error: Exception | None = None

    def text(self) -> bytes:
        if self.error:
            raise self.error
        return b"sluis_up 1\n"

    def not_ready(self) -> list[str]:
        if self.error:
            raise self.error
        return self.reasons


@asynccontextmanager
async def served() -> AsyncIterator[tuple[int, Shown]]:
    """The port of a server, and what it shows."""
    shown = Shown()
    server = HttpServer(Http(address="127.0.0.1:0"), shown)
    await server.start()
    try:
        yield server.port, shown
    finally:
        await server.close()


async def say(port: int, request: bytes, *, end: bool = True) -> bytes:
    """All that is answered until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if end:
            writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def get(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body."""
    answer = await say(port, f"{method} {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode(), end=False)
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def test_the_three_pages() -> None:
    async def story() -> None:
        async with served() as (port, shown):
            status, headers, body = await get(port, "/metrics")
            assert (status, body) == (200, b"sluis_up 1\n")
            assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert headers["Connection"] == "close"
            assert (await get(port, "/healthy"))[2] == b"healthy\n"
            assert (await get(port, "/ready?verbose=1"))[::2] == (200, b"ready\n")
            shown.reasons = ["inspector clamd: no answer", "the spool is above its watermark"]
            assert (await get(port, "/ready"))[::2] == (503, b"inspector clamd: no answer\nthe spool is above its watermark\n")
            assert (await get(port, "/healthy"))[0] == 200, "not ready is not ill: a restart would not help"
            assert (await get(port, "/"))[0] == 404

    asyncio.run(story())


def test_head_gives_the_length_and_no_body() -> None:
    async def story() -> None:
        async with served() as (port, _):
            status, headers, body = await get(port, "/metrics", "HEAD")
            assert (status, headers["Content-Length"], body) == (200, "11", b"")

    asyncio.run(story())


@pytest.mark.parametrize("error", [StoreError("the store can't be read: gone"), PermissionError(13, "Permission denied")], ids=str)
def test_what_fails_inside_is_503_with_its_reason(error: Exception) -> None:
    async def story() -> None:
        async with served() as (port, shown):
            shown.error = error
            for path in ("/metrics", "/ready"):
                status, _, body = await get(port, path)
                assert (status, body.decode()) == (503, f"{error}\n")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", b"400"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"EHLO somebody\r\n", b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""),
        (b"", b""),
        (b"GET /metrics HTTP/1.1\r\n", b""),
        (b"\xff" * 100_000, b"431"),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else "",
)
def test_a_hostile_request_gets_a_status_or_a_closed_connection(request_: bytes, status: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with served() as (port, _):
            answer = await say(port, request_)
            assert answer.split()[1:2] in ([status] if status else [], []), answer
            if len(request_) < 8000:
                assert bool(answer) is bool(status)
            assert (await get(port, "/healthy"))[0] == 200

    asyncio.run(story())
    assert caplog.records == []


def test_one_that_says_nothing_keeps_nobody_waiting() -> None:
    async def story() -> None:
        async with served() as (port, _):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
            assert (await get(port, "/ready"))[0] == 200
            for _, writer in silent:
                writer.transport.abort()

    asyncio.run(story())


@pytest.mark.parametrize("address", ["192.0.2.1:9125", "[2001:db8::1]:9125"])
def test_an_address_that_can_not_be_bound_is_named(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"http\.address"):
        asyncio.run(HttpServer(Http(address=address), Shown()).start())


def test_without_an_address_nothing_listens() -> None:
    async def story() -> None:
        server = HttpServer(Http(address=None), Shown())
        await server.start()
        await server.close()

    asyncio.run(story())
