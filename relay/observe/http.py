"""`/metrics`, `/healthy` and `/ready` over HTTP/1.1: a request line and headers of bounded size, GET and HEAD, one answer, closed."""

import asyncio
import re
from pathlib import Path
from typing import Protocol

from relay.model.errors import ConfigurationError, SluisError
from relay.settings.models import Http

SECONDS = 10.0
MAX_REQUEST = 8 * 1024
_REQUEST = re.compile(rb"(GET|HEAD) (/[!-~]{0,200}) HTTP/1\.[01]\r\n")


class Source(Protocol):
    """What is shown."""

    def text(self) -> bytes: ...

    def not_ready(self) -> list[str]: ...


class HttpServer:
    """Bind it to an address that only the monitoring reaches: it asks for no password. `path`: a unix socket, instead of the address."""

    def __init__(self, settings: Http, source: Source, path: Path | None = None) -> None:
        self._settings = settings
        self._source = source
        self._path = path
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises ConfigurationError."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)  # of a process that died
            self._server = await asyncio.start_unix_server(self._client, self._path, limit=MAX_REQUEST)
            return
        if self._settings.address is None:
            return
        host, _, port = self._settings.address.rpartition(":")
        try:
            self._server = await asyncio.start_server(self._client, host.strip("[]"), int(port), limit=MAX_REQUEST)
        except OSError as error:
            raise ConfigurationError([f"http.address {self._settings.address}: {error.strerror or error}"]) from None

    @property
    def port(self) -> int:
        """The port as it is."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                request, status, body = await self._exchange(reader)
                head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
                head += "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + (b"" if request.startswith(b"HEAD") else body))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader) -> tuple[bytes, str, bytes]:
        """The request, the status and the body of the answer."""
        try:
            request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return b"", "431 Request Header Fields Too Large", b"at most 8 KiB\n"
        return request, *await self._answer(request)

    async def _answer(self, request: bytes) -> tuple[str, bytes]:
        found = _REQUEST.match(request)
        if not found:
            return "400 Bad Request", b"GET or HEAD only\n"
        path = found[2].partition(b"?")[0]
        if path == b"/healthy":
            return "200 OK", b"healthy\n"
        try:
            if path == b"/ready":
                reasons = await asyncio.to_thread(self._source.not_ready)
                return ("503 Service Unavailable", ("\n".join(reasons) + "\n").encode()) if reasons else ("200 OK", b"ready\n")
            if path == b"/metrics":
                return "200 OK", await asyncio.to_thread(self._source.text)
        except (SluisError, OSError) as error:
            return "503 Service Unavailable", f"{error}\n".encode()
        return "404 Not Found", b"/metrics, /healthy, /ready\n"
