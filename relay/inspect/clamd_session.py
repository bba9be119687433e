"""A session with clamd over its unix socket: many commands on one connection, each within the deadline of its message. The only place that
knows the `clamd` package.
"""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable

import clamd

from relay.inspect.item import Unavailable

PIECE = 128 * 1024
MAX_REPLY = 4096
Connect = Callable[[float], socket.socket]
"""Makes a connection within so many seconds. Raises OSError."""
_LATE = "clamd: no answer within the deadline"


class ClamdSocket(clamd.ClamdUnixSocket):  # type: ignore[misc]
    """The package's connection, kept open for many commands (clamd(8), IDSESSION), with a connect time-out and a deadline (monotonic
    seconds) for each message; the package connects for each command, without a time-out, and sends in 1 KB pieces, this in 128 KB.
    """

    def __init__(self, connect: Connect, connect_timeout: float) -> None:
        super().__init__(timeout=connect_timeout)
        self._connect = connect
        self.clamd_socket: socket.socket | None = None  # what the package calls it
        self._number = 0  # of the last command in the session; 0: no session
        self._ahead = b""  # a command that was sent ahead, and whose answer was not taken yet
        self.deadline = 0.0

    def _init_socket(self) -> None:
        """The package connects without a time-out, and a clamd that hangs with a full backlog would hold it for ever."""
        connection = self._connect(max(min(self.timeout, self._left()), 0.001))
        connection.setblocking(False)
        self.clamd_socket, self._number = connection, 0
        self._send(connection, b"zIDSESSION\0")

    def _opened(self) -> socket.socket:
        if self.clamd_socket is None:
            self._init_socket()
        assert self.clamd_socket is not None
        return self.clamd_socket

    def ask(self, command: bytes) -> None:
        """Sends it ahead where a session is open: `exchange` of the same command then takes its answer. One that nobody took is of an
        earlier message, and ends the session."""
        try:
            if self._ahead:
                self.close()
            elif self.clamd_socket is not None:
                self._command(self.clamd_socket, command)
                self._ahead = command
        except (OSError, Unavailable):
            self.close()

    def exchange(self, command: bytes, data: bytes | None = None) -> str:
        """One command and its answer, to the terminating NUL. A session that clamd has ended is begun anew. Raises Unavailable."""
        if self._ahead not in (b"", command):
            self.close()
        reused = self.clamd_socket is not None
        try:
            try:
                return self._exchange(command, data)
            except (OSError, _CutShort):
                self.close()
                if not reused:
                    raise
                return self._exchange(command, data)
        except (OSError, clamd.ClamdError, _CutShort) as error:
            self.close()
            raise Unavailable(f"clamd: {error}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the session, if there is one."""
        if self.clamd_socket is not None:
            self.clamd_socket.close()
            self.clamd_socket, self._ahead = None, b""

    def __del__(self) -> None:
        """A worker has one for its whole life; the session ends with it."""
        self.close()

    def _exchange(self, command: bytes, data: bytes | None) -> str:
        connection = self._opened()
        if not self._ahead:
            self._command(connection, command, data)
        self._ahead = b""
        return self._answer(connection)

    def _command(self, connection: socket.socket, command: bytes, data: bytes | None = None) -> None:
        self._number += 1
        words = b"z" + command + b"\0"
        if data is None:
            self._send(connection, words)
        else:
            with contextlib.suppress(BrokenPipeError):  # clamd closes its side when it has seen enough; its answer is waiting
                self._stream(connection, words, memoryview(data))

    def _stream(self, connection: socket.socket, words: bytes, data: memoryview) -> None:
        """Pieces with their lengths, and a length of nothing. The first piece goes with the command, the last with its end: mostly that is
        one system call in all, and clamd wakes up once."""
        for start in range(0, max(len(data), 1), PIECE):
            piece = data[start : start + PIECE]
            length = struct.pack(">I", len(piece)) if piece else b""
            self._send(connection, words + length, piece, bytes(4) if start + PIECE >= len(data) else b"")
            words = b""

    def _answer(self, connection: socket.socket) -> str:
        """What stands behind the number of the command. Whatever else it is ends the session: what comes next might be of another."""
        answer = bytearray()
        while not answer.endswith(b"\0"):
            self._wait(connection, select.POLLIN)
            piece = connection.recv(MAX_REPLY)
            if not piece or len(answer) > MAX_REPLY:
                raise _CutShort("the answer was cut short or too long")
            answer += piece
        number, _, text = bytes(answer[:-1]).partition(b": ")
        if number != str(self._number).encode() or b"\0" in text:
            self.close()
            return bytes(answer[:-1]).decode("utf-8", "replace")
        return text.decode("utf-8", "replace")

    def _send(self, connection: socket.socket, *parts: bytes | memoryview) -> None:
        """What the socket takes at once needs no waiting for it."""
        self._left()
        try:
            sent = connection.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        if sent == sum(map(len, parts)):
            return
        rest = memoryview(b"".join(parts))[sent:]
        while rest:
            self._wait(connection, select.POLLOUT)
            rest = rest[connection.send(rest) :]

    def _wait(self, connection: socket.socket, event: int) -> None:
        """Until the socket is ready. Raises Unavailable at the deadline."""
        poll = select.poll()
        poll.register(connection, event)
        if not poll.poll(self._left() * 1000):
            raise Unavailable(_LATE)

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Unavailable(_LATE)
        return left


class _CutShort(Exception):
    """clamd ended the session in the middle of an exchange, or before it."""
