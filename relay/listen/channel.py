"""The socket of one session: aiosmtpd's protocol class, with line reading, chunk reading and TLS put right."""

import asyncio
import hashlib
import ssl
from typing import Any

from aiosmtpd.smtp import SMTP

from relay.model.client import Tls
from relay.model.reply import Reply

MAX_LINE = 2048  # RFC 5321 §4.5.3.1.4: 512, more for SMTPUTF8 (RFC 6531 §3.4), DSN (RFC 3461 §4) and AUTH= parameters
MAX_AUTH_LINE = 12_288  # RFC 4954 §4
CHUNK = 64 * 1024


class LineTooLong(Exception):
    """The rest of the line was read and thrown away."""


class Gone(Exception):
    """The client closed, or was closed."""


class Channel(SMTP):
    """aiosmtpd 1.4.6 keeps the socket, the stream reader and the handler task; the dialogue above it is ours.

    Its StreamReader limit follows `line_length_limit` (1001), so that reading stops every 2 KB: raised. It cancels the handler when
    the client
    half-closes: a client may say QUIT and shut down its side, and the message before it must still be answered.
    """

    line_length_limit = 2 * CHUNK

    # aiosmtpd and asyncio keep these to themselves; what is done with them here has no public way.
    transport: Any
    _reader: Any
    _writer: Any

    def __init__(self, loop: asyncio.AbstractEventLoop, hostname: str) -> None:
        super().__init__(handler=None, hostname=hostname, loop=loop, timeout=86_400, ident="Sluis")

    def eof_received(self) -> bool | None:
        """Lets the handler read to the end by itself."""
        self._reader.feed_eof()
        return not self._over_ssl

    def pending(self) -> bool:
        """Whether the client has sent more than was asked of it."""
        return bool(self._reader._buffer)

    async def read_line(self, limit: int, timeout: float) -> bytes:
        """One line without its CRLF; a bare CR or LF does not end it. Raises TimeoutError, Gone, LineTooLong."""
        async with asyncio.timeout(timeout):
            try:
                line: bytes = await self._reader.readuntil(b"\r\n")
            except asyncio.LimitOverrunError:
                await self._skip_line()
                raise LineTooLong from None
            except (asyncio.IncompleteReadError, ConnectionError):
                raise Gone from None
        if len(line) > limit:
            raise LineTooLong
        return line[:-2]

    async def _skip_line(self) -> None:
        """Throws away up to and with the next CRLF."""
        last = b""
        while True:
            chunk: bytes = await self._reader.read(CHUNK)
            if not chunk:
                raise Gone
            joined = last + chunk
            end = joined.find(b"\r\n")
            if end >= 0:
                rest = joined[end + 2 :]
                self._reader._buffer[:0] = rest
                return
            last = chunk[-1:]

    async def read_chunk(self, timeout: float) -> bytes:
        """What there is, up to 64 KiB. Raises TimeoutError, Gone."""
        async with asyncio.timeout(timeout):
            try:
                chunk: bytes = await self._reader.read(CHUNK)
            except ConnectionError:
                raise Gone from None
        if not chunk:
            raise Gone
        return chunk

    def put_back(self, rest: bytes) -> None:
        """Commands that came behind the end of data (RFC 2920)."""
        if rest:
            self._reader._buffer[:0] = rest

    async def send(self, reply: Reply) -> None:
        """Writes a reply, and waits while the client does not read. Raises Gone."""
        await self.send_bytes(reply.wire())

    async def send_bytes(self, data: bytes) -> None:
        """Raises Gone."""
        if self.transport is None or self.transport.is_closing():
            raise Gone
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            raise Gone from None

    async def start_tls(self, context: ssl.SSLContext, timeout: float) -> Tls:
        """Upgrades; what was buffered in clear text is thrown away first (RFC 3207 §4.2, CVE-2011-0411). Raises Gone where the
        handshake fails.
        """
        self._reader._buffer.clear()
        try:
            transport = await self.loop.start_tls(self.transport, self, context, server_side=True, ssl_handshake_timeout=timeout)
        except (OSError, TimeoutError) as error:
            raise Gone(f"TLS handshake failed: {error}") from None
        if transport is None:
            raise Gone("TLS handshake failed")
        self._reader._transport = transport
        self._writer._transport = transport
        self.transport = transport
        self._over_ssl = True
        return tls_of(transport)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


def tls_of(transport: Any) -> Tls:
    """The facts of a TLS transport."""
    found: ssl.SSLObject = transport.get_extra_info("ssl_object")
    cipher = found.cipher()
    certificate = found.getpeercert(binary_form=True)
    names = [item[1] for item in (found.getpeercert() or {}).get("subjectAltName", ())] if certificate else []
    return Tls(
        version=found.version() or "unknown",
        cipher=cipher[0] if cipher else "unknown",
        certificate_sha256=hashlib.sha256(certificate).hexdigest() if certificate else None,
        certificate_names=tuple(str(item) for item in names),
    )
