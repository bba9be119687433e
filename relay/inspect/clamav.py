"""clamd over its unix socket, through the `clamd` package; sessions, streaming, time-outs and verdicts are ours.

Only a literal OK is clean. clamd's size limits answer OK unless `AlertExceedsMax yes` is set (deploy/clamav), and then
`Heuristics.Limits.Exceeded`.
"""

import contextlib
import re
import select
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import clamd

from relay.inspect.connect import connect
from relay.inspect.item import Item, Unavailable
from relay.model.finding import Finding, Kind
from relay.model.text import printable

PIECE = 128 * 1024
MAX_REPLY = 4096
# The EICAR test file, put together here so that no copy of it lies in the code.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
Connect = Callable[[float], socket.socket]
"""Makes a connection within so many seconds. Raises OSError."""
_LATE = "clamd: no answer within the deadline"
_FOUND = re.compile(r"stream: (\S.*) FOUND")


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


class ClamdInspector:
    """Verdicts of literal OK are kept for a while, by digest, engine version and database generation; one cache for each worker.

    `reach` is the path of clamd's socket, or what connects to it where the process may open none. `deadline` (seconds) is for all items
    of a message together: a scanner that is slow with each of many is as unavailable as one that hangs. `hits` counts answers from the
    cache.
    """

    name = "clamd"

    def __init__(
        self,
        reach: Path | Connect,
        connect_timeout: float,
        deadline: float,
        cache_entries: int,
        cache_seconds: float,
    ) -> None:
        self._socket = ClamdSocket(partial(connect, reach) if isinstance(reach, Path) else reach, connect_timeout)
        self._seconds = deadline
        self._cache_entries = cache_entries
        self._cache_seconds = cache_seconds
        self._clean: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self._version = ""
        self._tested = ""
        self.hits = 0
        self.begin()

    def begin(self) -> None:
        """A new message: its deadline runs from now, and the version is asked for again, so that a database that was loaded before the
        message came is the one that judges it."""
        self._socket.deadline = time.monotonic() + self._seconds
        self._version = ""

    def expect(self) -> None:
        """A new message came and is being read: clamd tells its version meanwhile, and nobody waits for it."""
        self._socket.deadline = time.monotonic() + self._seconds
        self._socket.ask(b"VERSION")

    def version(self) -> str:
        """Engine, database version and its date, as clamd says it; the version is that of the loaded database, not of the files."""
        if not self._version:
            text = self._socket.exchange(b"VERSION")
            if not re.fullmatch(r"ClamAV [ -~]{1,200}", text):
                raise Unavailable(f"clamd: {printable(text, 100)!r} is no version")
            self._version = text
        return self._version

    def self_test(self) -> str:
        """A scanner that does not find EICAR finds nothing; asked once for each version, which is given. Raises Unavailable."""
        version = self.version()
        if self._tested != version:
            if not _FOUND.fullmatch(self._socket.exchange(b"INSTREAM", EICAR)):
                raise Unavailable("clamd: it does not find the EICAR test file")
            self._tested = version
        return version

    def inspect(self, item: Item) -> Iterable[Finding]:
        """Raises Unavailable for all that is neither a verdict nor a limit; the self-test is then due again."""
        try:
            return self._inspect(item)
        except Unavailable:
            self._tested = ""
            self._version = ""
            raise

    def _inspect(self, item: Item) -> list[Finding]:
        version = self.self_test()
        key = (version, item.sha256)
        now = time.monotonic()
        if self._clean.get(key, 0.0) > now:
            self.hits += 1
            return []
        finding = self._verdict(self._socket.exchange(b"INSTREAM", item.data), item)
        if finding is None and self._cache_entries:
            self._clean[key] = now + self._cache_seconds
            if len(self._clean) > self._cache_entries:
                self._clean.popitem(last=False)
        return [finding] if finding else []

    def _verdict(self, answer: str, item: Item) -> Finding | None:
        if answer == "stream: OK":
            return None
        found = _FOUND.fullmatch(answer)
        if found:
            name = printable(found[1], 200)
            if name.startswith("Heuristics.Limits.Exceeded"):
                return Finding(Kind.LIMIT, self.name, "limits-exceeded", item.path, name)
            if name.startswith("Heuristics.Encrypted"):
                return Finding(Kind.ENCRYPTED, self.name, "encrypted", item.path, name)
            return Finding(Kind.MALWARE, self.name, name, item.path)
        if "size limit exceeded" in answer:  # StreamMaxLength
            return Finding(Kind.LIMIT, self.name, "limits-exceeded", item.path, "stream size")
        raise Unavailable(f"clamd: {printable(answer, 200)}")
