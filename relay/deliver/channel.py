"""Commands out, replies in, over a connection that is already open: every reply is matched to its command, in order."""

import asyncio
import re

from relay.deliver.answer import Answer, Lost, replied
from relay.model.patience import Patience

LINE_LIMIT = 8192  # RFC 5321 §4.5.3.1.5 says 512; real servers say more, none says this much
REPLY_LINES = 200
REPLY_LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])(.*))?", re.DOTALL)  # RFC 5321 §4.2
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class Channel:
    """One SMTP dialogue. Any Lost leaves it unusable."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._patience = Patience(asyncio.get_running_loop(), lambda: reader.set_exception(TimeoutError()))
        self.closing = False

    @property
    def alive(self) -> bool:
        """As far as this side knows: the other has neither closed nor said anything unasked."""
        return not self.closing and not self._writer.transport.is_closing() and not self._reader.at_eof() and not self._reader._buffer  # type: ignore[attr-defined]

    async def command(self, line: bytes, timeout: float) -> Answer:
        """One command, one reply."""
        await self.send(command_line(line), timeout)
        return await self.reply(timeout)

    async def send(self, data: bytes, timeout: float) -> None:
        """Writes, and waits while the other side is slow. Raises Lost."""
        if self._writer.transport.is_closing():  # uvloop's transport would raise a RuntimeError
            raise Lost("the next hop closed the connection")
        try:
            self._writer.write(data)
            if not self._writer.transport.get_write_buffer_size():  # the kernel has it all: mostly so, and no timer is needed
                return
            async with asyncio.timeout(timeout):
                await self._writer.drain()
        except TimeoutError:
            raise Lost("the next hop takes no data") from None
        except OSError as error:
            raise Lost(f"connection lost: {error.strerror or type(error).__name__}") from error

    async def reply(self, timeout: float) -> Answer:
        """The next reply. Raises Lost. After 421 the other side closes (RFC 5321 §3.8)."""
        self._patience.begin(timeout)
        try:
            code, lines = await self._read()
        except TimeoutError:
            raise Lost(f"no reply within {timeout:g} seconds") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Lost("the next hop closed the connection") from error
        except (ValueError, asyncio.LimitOverrunError):
            raise Lost("the reply is no SMTP") from None
        finally:
            self._patience.end()
        if code == 421:
            self.closing = True
        return replied(code, lines)

    async def _read(self) -> tuple[int, list[str]]:
        lines: list[str] = []
        code = 0
        while len(lines) < REPLY_LINES:
            match = REPLY_LINE.fullmatch((await self._reader.readuntil(b"\n")).rstrip(b"\r\n"))
            if match is None or (lines and int(match.group(1)) != code):
                raise ValueError("malformed reply")
            code = int(match.group(1))
            lines.append((match.group(3) or b"").decode("utf-8", "replace"))
            if match.group(2) != b"-":
                return code, lines
        raise ValueError("endless reply")

    def quit(self) -> None:
        """Says QUIT and closes. Differs from RFC 5321 §4.1.1.10: we do not wait for the reply, because nothing depends on it."""
        if not self._writer.transport.is_closing():
            self._patience.close()
            self._writer.write(b"QUIT\r\n")
            self._writer.close()

    async def quit_and_wait(self, timeout: float) -> None:
        """Says QUIT, and waits until the connection is closed on our side; after `timeout` seconds it is dropped."""
        self.quit()
        try:
            async with asyncio.timeout(timeout):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self.abort()

    def abort(self) -> None:
        """Drops the connection at once; what was not yet sent is not sent any more."""
        self.closing = True
        self._patience.close()
        self._writer.transport.abort()


def command_line(line: bytes) -> bytes:
    """A command with its CRLF. A control character in it is a bug of ours or an address that should not have come this far: it would be
    a second command."""
    if CONTROL.search(line):
        raise ValueError("a control character in an SMTP command")
    return line + b"\r\n"
