"""A next hop that takes everything and keeps nothing, so that large messages can leave while they are counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def discarding() -> AsyncIterator[int]:
    """Gives its port."""
    server = await asyncio.start_server(_session, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def _session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(b"220 sink ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go ahead\r\n")
                await _content(reader)
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n")
            await writer.drain()
            if verb == b"QUIT":
                break
    except (OSError, EOFError):
        pass  # whoever sent is gone
    finally:
        writer.close()


async def _content(reader: asyncio.StreamReader) -> None:
    """To the final dot. Raises EOFError."""
    end = b"\r\n"
    while not end.endswith(b"\r\n.\r\n"):
        piece = await reader.read(1024 * 1024)
        if not piece:
            raise EOFError
        end = (end + piece)[-5:]
