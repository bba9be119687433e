"""What a client has sent and nobody has read yet: bounded, whatever the client sends, and next to nothing while it is silent.

asyncio's StreamReader takes up to twice its limit, and uvloop hands it up to 250 KB at a time: thousands of clients that send commands and
read no replies would fill the memory with them. Here the socket is read into a space that all connections share, and no more is taken
than `most` allows.
"""

import asyncio
from typing import Any

from relay.model.patience import Patience

COMMANDS = 4 * 1024
"""Octets that may wait while commands are read: two of the longest lines. The kernel keeps the rest, and the client's window closes."""
CONTENT = 256 * 1024
"""Octets that may wait while a message comes in."""


PIECES = 4
"""Reads of a message that may wait as they came: taken as they are, they are copied once, and not moved about."""


class Incoming:
    """`scratch` is the shared space; nothing in it outlives the call that read it. What waits is `_buffer`, then `_pieces`."""

    __slots__ = ("_buffer", "_loop", "_patience", "_paused", "_pieces", "_scratch", "_transport", "_waiter", "ended", "most")

    def __init__(self, loop: asyncio.AbstractEventLoop, scratch: bytearray) -> None:
        self._loop = loop
        self._scratch = scratch
        self._buffer = bytearray()
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._patience = Patience(loop, self._expire)
        self._transport: Any = None
        self._paused = False
        self.ended = False
        self.most = COMMANDS

    def connect(self, transport: Any) -> None:
        """Where it comes from, again after a TLS handshake."""
        self._transport = transport
        self._paused = False

    def __len__(self) -> int:
        return len(self._buffer) + sum(map(len, self._pieces))

    def space(self) -> memoryview:
        """Where the next octets may be put."""
        return memoryview(self._scratch)[: min(self.most, len(self._scratch))]

    def came(self, octets: int) -> None:
        """So many were put there."""
        came = memoryview(self._scratch)[:octets]
        if self.most == CONTENT and not self._buffer and len(self._pieces) < PIECES:
            self._pieces.append(bytes(came))
        else:
            self._gather()
            self._buffer += came
        if len(self) >= self.most and not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def _gather(self) -> None:
        if self._pieces:
            self._buffer += b"".join(self._pieces)
            self._pieces.clear()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._patience.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def more(self, until: float) -> None:
        """Waits for octets beyond those that are here. Raises EOFError where none will come, TimeoutError at `until` (loop time)."""
        if self.ended:
            raise EOFError
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        waiter = self._waiter = self._loop.create_future()
        self._patience.begin(until - self._loop.time())
        try:
            await waiter
        finally:
            self._patience.end()
            self._waiter = None

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def take(self, most: int) -> bytes:
        """Something of what is here, and not more than `most`."""
        if self._pieces and not self._buffer and len(self._pieces[0]) <= most:
            return self._pieces.pop(0)
        self._gather()
        taken = bytes(self._buffer) if len(self._buffer) <= most else bytes(memoryview(self._buffer)[:most])
        del self._buffer[: len(taken)]
        return taken

    def put_back(self, octets: bytes) -> None:
        """To be read again, before what has come since."""
        self._gather()
        self._buffer[:0] = octets

    def clear(self) -> None:
        """Throws away what is here."""
        self._buffer.clear()
        self._pieces.clear()

    def find(self, what: bytes, start: int = 0) -> int:
        """Where it begins, or -1."""
        self._gather()
        return self._buffer.find(what, start)

    # As the reader of PROXY headers asks; what bounds its waiting is around the whole of it.

    async def read(self, most: int) -> bytes:
        """As asyncio.StreamReader.read."""
        if not len(self) and not self.ended:
            await self.more(self._loop.time() + _FOREVER)
        return self.take(most)

    async def readexactly(self, octets: int) -> bytes:
        """As asyncio.StreamReader.readexactly. Raises IncompleteReadError."""
        while len(self) < octets:
            try:
                await self.more(self._loop.time() + _FOREVER)
            except EOFError:
                raise asyncio.IncompleteReadError(self.take(octets), octets) from None
        return self.take(octets)

    async def readuntil(self) -> bytes:
        """As asyncio.StreamReader.readuntil, to LF. Raises IncompleteReadError, LimitOverrunError."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) >= COMMANDS:
                raise asyncio.LimitOverrunError("no line", len(self._buffer))
            try:
                await self.more(self._loop.time() + _FOREVER)
            except EOFError:
                raise asyncio.IncompleteReadError(self.take(COMMANDS), None) from None
        return self.take(end + 1)


_FOREVER = 3600.0
