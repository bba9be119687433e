"""The socket of one session: aiosmtpd's protocol class, with line reading, chunk reading and TLS put right."""

import asyncio
import fcntl
import hashlib
import ssl
import struct
import termios
from typing import Any

from aiosmtpd.smtp import SMTP

from relay.model.client import Tls
from relay.model.reply import Reply

MAX_LINE = 2048  # RFC 5321 §4.5.3.1.4: 512, more for SMTPUTF8 (RFC 6531 §3.4), DSN (RFC 3461 §4) and AUTH= parameters
MAX_AUTH_LINE = 12_288  # RFC 4954 §4
CHUNK = 64 * 1024
REPLY_SECONDS = 60.0  # how long a reply may wait for a client that reads nothing; replies are short, so its window is shut
ARRIVAL_SECONDS = 1.0  # how long a QUIT that was sent ahead may wait for the reply before it to arrive: some round trips
FLUSH_SECONDS = 10.0  # how long the last reply may wait, once the session is over


class LineTooLong(Exception):
    """The rest of the line was read and thrown away."""


class BareLineFeed(Exception):
    """A line ended in LF without CR: what follows it can't be told from smuggled commands."""


class TimedOut(Exception):
    """The client said nothing in time."""


class Gone(Exception):
    """The client closed, or was closed."""


class Channel(SMTP):
    """aiosmtpd 1.4.6 keeps the socket, the stream reader and the handler task; the dialogue above it is ours.

    Its StreamReader limit follows `line_length_limit` (1001), so that reading stops every 2 KB: raised. It cancels the handler when the
    client closes: a client may shut down its side behind the final dot and must still be answered, and what it sent in full before it
    went away is still read. Here the handler reads to the end by itself, and then meets Gone.
    """

    line_length_limit = 2 * CHUNK

    # aiosmtpd and asyncio keep these to themselves; what is done with them here has no public way.
    transport: Any
    _reader: Any
    _writer: Any
    _handler_coroutine: Any
    _timeout_handle: Any

    def __init__(self, loop: asyncio.AbstractEventLoop, hostname: str) -> None:
        super().__init__(handler=None, hostname=hostname, loop=loop, timeout=86_400, ident="Sluis")

    @property
    def reply_seconds(self) -> float:
        """How long one reply may wait for the client."""
        return REPLY_SECONDS

    def eof_received(self) -> bool | None:
        """Keeps the other direction open, where TLS does not forbid that."""
        self._reader.feed_eof()
        return not self._over_ssl

    def connection_lost(self, error: Exception | None) -> None:
        """Ends the stream; the handler is not cancelled."""
        self._timeout_handle.cancel()
        asyncio.StreamReaderProtocol.connection_lost(self, None)
        self.transport = None

    def pending(self) -> bool:
        """Whether the client has sent more than was asked of it."""
        return bool(self._reader._buffer)

    async def read_line(self, limit: int, timeout: float) -> bytes:
        """One line without its CRLF; a bare CR is part of it. Raises TimedOut, Gone, LineTooLong, BareLineFeed."""
        length, tail = 0, b""  # of what was thrown away
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        line: bytes = await self._reader.readuntil(b"\n")
                        break
                    except asyncio.LimitOverrunError as overrun:
                        dropped: bytes = await self._reader.readexactly(overrun.consumed)
                        length, tail = length + len(dropped), dropped[-1:]
        except TimeoutError:
            raise TimedOut from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Gone from None
        if not (tail + line).endswith(b"\r\n"):
            raise BareLineFeed
        if length + len(line) > limit:
            raise LineTooLong
        return line[:-2]

    async def read_chunk(self, timeout: float, most: int = CHUNK) -> bytes:
        """What there is, up to 64 KiB, and not more than `most`. Raises TimedOut, Gone."""
        try:
            async with asyncio.timeout(timeout):
                chunk: bytes = await self._reader.read(min(CHUNK, most))
        except TimeoutError:
            raise TimedOut from None
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
        """Writes a reply, and waits a while for a client that does not read. Raises Gone."""
        if self.transport is None or self.transport.is_closing():
            raise Gone
        self._writer.write(reply.wire())
        try:
            async with asyncio.timeout(self.reply_seconds):
                await self._writer.drain()
        except TimeoutError:
            self.transport.abort()
            raise Gone("the client reads no replies") from None
        except ConnectionError:
            raise Gone from None

    async def arrived(self) -> bool:
        """Whether the machine at the other end has confirmed all that was said; waits a while for that. A client that gave up and closed
        its connection confirms nothing."""
        pause = 0.001
        while pause < ARRIVAL_SECONDS:
            if self.transport is None or self.transport.is_closing():
                return False
            if not self.transport.get_write_buffer_size() and not _on_the_way(self.transport.get_extra_info("socket").fileno()):
                return True
            await asyncio.sleep(pause)  # nothing announces it
            pause *= 2
        return False

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

    @property
    def task(self) -> "asyncio.Task[None]":
        """The dialogue."""
        task: asyncio.Task[None] = self._handler_coroutine
        return task

    def close(self) -> None:
        """The last reply may still leave, for a while."""
        if self.transport is None or self.transport.is_closing():
            return
        unsent = self.transport.get_write_buffer_size()
        self.transport.close()
        if unsent:
            self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def abort(self) -> None:
        """At once."""
        if self.transport is not None:
            self.transport.abort()


def _on_the_way(descriptor: int) -> int:
    """Octets that TCP has sent or will send, and that are not acknowledged (SIOCOUTQ, tcp(7))."""
    (octets,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))
    return int(octets)


def tls_of(transport: Any) -> Tls:
    """The facts of a TLS transport; of the names in a certificate just those of hosts."""
    found: ssl.SSLObject = transport.get_extra_info("ssl_object")
    cipher = found.cipher()
    certificate = found.getpeercert(binary_form=True)
    alternatives: Any = (found.getpeercert() or {}).get("subjectAltName", ()) if certificate else ()
    return Tls(
        version=found.version() or "unknown",
        cipher=cipher[0] if cipher else "unknown",
        certificate_sha256=hashlib.sha256(certificate).hexdigest() if certificate else None,
        certificate_names=tuple(str(name) for kind, name in alternatives if kind == "DNS"),
    )
