"""The socket of one session: reads lines and chunks, sends replies, becomes TLS."""

import asyncio
import fcntl
import hashlib
import socket
import ssl
import struct
import termios
from typing import Any

from relay.listen.incoming import COMMANDS, CONTENT, Incoming
from relay.model.client import Tls
from relay.model.reply import Reply

MAX_LINE = 2048  # RFC 5321 §4.5.3.1.4: 512, more for SMTPUTF8 (RFC 6531 §3.4), DSN (RFC 3461 §4) and AUTH= parameters
MAX_AUTH_LINE = 12_288  # RFC 4954 §4
CHUNK = 256 * 1024
"""Octets of a message that are read at once: each read, hash and write is a turn of threads."""
REPLY_SECONDS = 60.0  # how long a reply may wait for a client that reads nothing; replies are short, so its window is shut
ARRIVAL_SECONDS = 1.0  # how long what was said may take to arrive, where that is waited for: some round trips
ALONG_SECONDS = 1.0  # what comes so long after a final dot was not sent along with it; no client loses its patience sooner
UNREAD = 4 * 1024  # octets of replies that may wait for a client that reads slowly; then nothing more is done for it until it reads
_CLOSED = 7  # TCP_CLOSE, the first octet of struct tcp_info (linux/tcp.h, tcp(7))
FLUSH_SECONDS = 10.0  # how long the last reply may wait, once the session is over


class LineTooLong(Exception):
    """The rest of the line was read and thrown away."""


class BareLineFeed(Exception):
    """A line ended in LF without CR: what follows it can't be told from smuggled commands."""


class TimedOut(Exception):
    """The client said nothing in time."""


class Gone(Exception):
    """The client closed, or was closed."""


class Channel(asyncio.BufferedProtocol):
    """The dialogue above it reads lines and chunks, and sends replies, until it meets Gone. What a client costs while it says nothing, says
    too much or reads nothing is bounded here (`Incoming`, UNREAD).

    A client may shut down its side behind the final dot and must still be answered, and what it sent in full before it went away is still
    read: the dialogue is not cancelled when the client closes, it reads to the end by itself.
    """

    transport: Any = None

    def __init__(self, loop: asyncio.AbstractEventLoop, scratch: bytearray) -> None:
        """`scratch` is shared by all channels of the loop."""
        self.loop = loop
        self.incoming = Incoming(loop, scratch)
        self._over_ssl = False
        self._full = False  # the client reads too slowly
        self._drained: asyncio.Future[None] | None = None
        self._begun = b""  # of the next reply
        self._whole: float | None = None  # when a message had come in whole whose receipt nobody is known to have heard
        self._replied = False
        self.ahead = False
        """Whether what came in last was sent before the receipt could be heard, and not along with the final dot either: by a client that
        has given up."""

    async def dialogue(self) -> None:
        """From the greeting to the end."""
        raise NotImplementedError

    @property
    def reply_seconds(self) -> float:
        """How long one reply may wait for the client."""
        return REPLY_SECONDS

    # What the event loop calls

    def connection_made(self, transport: Any) -> None:
        """Begins the dialogue."""
        self._over_ssl = transport.get_extra_info("sslcontext") is not None
        self._on(transport)
        self.task: asyncio.Task[None] = self.loop.create_task(self.dialogue())

    def _on(self, transport: Any) -> None:
        self.transport = transport
        self.incoming.connect(transport)
        transport.set_write_buffer_limits(high=UNREAD)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.incoming.space()

    def buffer_updated(self, nbytes: int) -> None:
        self.incoming.came(nbytes)
        if self._whole is not None and self._sent_ahead(self._whole):
            self.ahead = True

    def _sent_ahead(self, whole: float) -> bool:
        """What was sent after the receipt had arrived confirms it: it comes with the acknowledgement (RFC 9293 §3.10.7.4)."""
        if not self._replied:
            return self.loop.time() - whole > ALONG_SECONDS
        return not self._has_arrived()

    def eof_received(self) -> bool | None:
        """Keeps the other direction open, where TLS does not forbid that."""
        self.incoming.end()
        return not self._over_ssl

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._writable()

    def _writable(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Ends what is read; the dialogue is not cancelled."""
        self.transport = None
        self.incoming.end()
        self._writable()

    # What the dialogue calls

    def pending(self) -> bool:
        """Whether the client has sent more than was asked of it."""
        return len(self.incoming) > 0

    async def read_line(self, limit: int, timeout: float) -> bytes:
        """One line without its CRLF; a bare CR is part of it. Raises TimedOut, Gone, LineTooLong, BareLineFeed."""
        incoming = self.incoming
        incoming.most = COMMANDS
        until = self.loop.time() + timeout
        length, tail, looked = 0, b"", 0  # `length` and `tail` are of what was thrown away
        try:
            while (end := incoming.find(b"\n", looked)) < 0:
                looked = len(incoming)
                if looked > limit:
                    length, tail, looked = length + looked, incoming.take(looked)[-1:], 0
                await incoming.more(until)
        except TimeoutError:
            raise TimedOut from None
        except EOFError:
            raise Gone from None
        line = incoming.take(end + 1)
        if not (tail + line).endswith(b"\r\n"):
            raise BareLineFeed
        if length + len(line) > limit:
            raise LineTooLong
        return line[:-2]

    async def read_chunk(self, timeout: float, most: int = CHUNK) -> bytes:
        """What there is, up to 256 KiB, and not more than `most`. Raises TimedOut, Gone."""
        incoming = self.incoming
        incoming.most = CONTENT
        try:
            if not incoming:
                await incoming.more(self.loop.time() + timeout)
        except TimeoutError:
            raise TimedOut from None
        except EOFError:
            raise Gone from None
        chunk = incoming.take(min(CHUNK, most))
        if not chunk:
            raise Gone
        return chunk

    def put_back(self, rest: bytes) -> None:
        """Commands that came behind the end of data (RFC 2920)."""
        if rest:
            self.incoming.put_back(rest)

    async def send(self, reply: Reply) -> None:
        """Writes a reply, and waits a while for a client that does not read. Raises Gone."""
        if self.transport is None or self.transport.is_closing():
            raise Gone
        wire = reply.wire()
        if self._begun:
            begun, self._begun = self._begun, b""
            if not wire.startswith(begun):
                self.transport.abort()
                raise Gone("another reply was begun")
            wire = wire[len(begun) :]
        self.transport.write(wire)
        if not self._full:
            return
        self._drained = self.loop.create_future()
        try:
            async with asyncio.timeout(self.reply_seconds):
                await self._drained
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()
            raise Gone("the client reads no replies") from None
        if self.transport is None:
            raise Gone

    def begin(self, octets: bytes) -> None:
        """Writes the first octets of the next reply. One that does not begin with them can't be sent any more: Gone."""
        self._begun = octets
        self.transport.write(octets)

    def came_whole(self) -> None:
        """A message came in whole: from here on it is looked at whether what comes was sent ahead of its receipt."""
        self._whole, self._replied, self.ahead = self.loop.time(), False, False

    def receipt_said(self) -> None:
        """Its receipt was sent."""
        self._replied = True

    def receipt_over(self) -> None:
        """It was heard, or there is none."""
        self._whole = None

    async def arrived(self) -> bool:
        """Whether the machine at the other end has confirmed all that was said; waits a while for that. A client that gave up and closed
        its connection confirms nothing."""
        pause = 0.001
        while pause < ARRIVAL_SECONDS:
            if self.transport is None or self.transport.is_closing() or self._is_reset():
                return False
            if self._has_arrived():
                return True
            await asyncio.sleep(pause)  # nothing announces it
            pause *= 2
        return False

    def _has_arrived(self) -> bool:
        if self.transport is None or self.transport.get_write_buffer_size():
            return False
        descriptor = self.transport.get_extra_info("socket").fileno()
        return descriptor >= 0 and not _on_the_way(descriptor)

    def _is_reset(self) -> bool:
        """The event loop does not see it where it has read to the end."""
        try:
            info: bytes = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except (OSError, ValueError):  # closed: uvloop's socket says so with a ValueError
            return True
        return info[0] == _CLOSED

    async def start_tls(self, context: ssl.SSLContext, timeout: float) -> Tls:
        """Upgrades; what was buffered in clear text is thrown away first (RFC 3207 §4.2, CVE-2011-0411). Raises Gone where the
        handshake fails.
        """
        self.incoming.clear()
        try:
            transport = await self.loop.start_tls(self.transport, self, context, server_side=True, ssl_handshake_timeout=timeout)
        except (OSError, TimeoutError) as error:
            raise Gone(f"TLS handshake failed: {error}") from None
        if transport is None:
            raise Gone("TLS handshake failed")
        self._over_ssl = True
        self._on(transport)
        return tls_of(transport)

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
