"""Starts the program in a fork of a process that has loaded it already (`tests.servers.warm_process`): hundreds of relays and commands are
started, and to load the program costs more than to run it.

It is the same program with the same command line, in a process of its own with an id of its own: it is killed, traced, limited and awaited
as any other. An interpreter is started all the same where the environment is another one, for interpreter and loader read theirs at their
start (`PYTHONPATH`, `LD_PRELOAD`); inside `switched_off()`, where a test measures what a relay weighs; and outside `switched_on()`, as in
`make faults`.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM

ROOT = Path(__file__).parents[2]
_on = False


class NotStarted(AssertionError):
    """The process that is forked from is gone; what it said stands in the output of the tests."""


class Forked(asyncio.subprocess.Process):
    """A process that was forked; whoever it is a child of says how it ended."""

    def __init__(self, pid: int, asked: socket.socket, stderr: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdin = self.stdout = None
        self.stderr = stderr
        self._code: int | None = None
        self._ended = asyncio.create_task(self._until_end(asked))

    async def _until_end(self, asked: socket.socket) -> int:
        with asked:
            self._code = int(await _line(asked))
        return self._code

    @property
    def returncode(self) -> int | None:
        """None while it runs, below zero for a signal."""
        return self._code

    async def wait(self) -> int:
        """Until it has ended; gives its exit code."""
        return await asyncio.shield(self._ended)

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError when it is known here that it has ended; one of which nobody has said so yet has nothing to hear."""
        if self._code is not None:
            raise ProcessLookupError
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(SIGKILL)


class _Source:
    """The process that is forked from, started with the first request and this environment. `allowed` is whether there may be one."""

    def __init__(self) -> None:
        self.allowed = False
        self.environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def may(self, environment: Mapping[str, str]) -> bool:
        """Whether a fork would be what an interpreter with this environment is."""
        return self.allowed and _read_at_the_start(environment) == _read_at_the_start(self.environment)

    def request(self, request: Mapping[str, object], descriptors: Sequence[int]) -> None:
        """Datagrams, so that two requests never mix."""
        if self._control is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            words = [sys.executable, "-m", "tests.servers.warm_process", str(theirs.fileno())]
            with theirs:
                self._process = subprocess.Popen(words, cwd=ROOT, env=self.environment, pass_fds=[theirs.fileno()])
        socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)

    def close(self) -> None:
        """It ends with its socket."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait()
        self._control = self._process = None


def _read_at_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    """All but what Sluis reads itself, and what pytest says of the test that runs."""
    return {name: value for name, value in environment.items() if not name.startswith(("SLUIS_", "PYTEST_"))}


_SOURCE = _Source()


@contextmanager
def switched_on() -> Iterator[None]:
    """Inside, `start` and `run` fork."""
    _SOURCE.allowed, _SOURCE.environment = True, dict(os.environ)
    try:
        yield
    finally:
        _SOURCE.allowed = False
        _SOURCE.close()


@contextmanager
def switched_off() -> Iterator[None]:
    """Inside, they do not."""
    before, _SOURCE.allowed = _SOURCE.allowed, False
    try:
        yield
    finally:
        _SOURCE.allowed = before


async def start(words: Sequence[str], module: str) -> asyncio.subprocess.Process:
    """`python -m MODULE WORDS`, with its errors to read, and all else as this process has it."""
    if not _SOURCE.may(os.environ):
        return await asyncio.create_subprocess_exec(sys.executable, "-m", module, *words, stderr=asyncio.subprocess.PIPE)
    read, write = os.pipe()
    try:
        pid, asked = await _fork(words, module, os.environ, (0, 1, write))
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    errors = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(errors), os.fdopen(read, "rb"))
    return Forked(pid, asked, errors)


async def run(words: Sequence[str], stdin: bytes, environment: Mapping[str, str], module: str = "relay") -> tuple[int, bytes, bytes]:
    """`python -m MODULE WORDS` until it ends: its exit code, what it printed, and what it said of errors."""
    if not _SOURCE.may(environment):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *words, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, out, err
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(os.fdopen(os.memfd_create(name), "w+b", 0)) for name in ("stdin", "stdout", "stderr")]
        files[0].write(stdin)
        files[0].seek(0)
        _, asked = await _fork(words, module, environment, [file.fileno() for file in files])
        with asked:
            code = int(await _line(asked))
        for file in files[1:]:
            file.seek(0)
        return code, files[1].read(), files[2].read()


async def _fork(words: Sequence[str], module: str, environment: Mapping[str, str], standard: Sequence[int]) -> tuple[int, socket.socket]:
    """Gives the process id, and the socket that its exit code comes over."""
    request = {"module": module, "words": list(words), "environment": dict(environment), "folder": str(Path.cwd())}
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        with theirs:
            _SOURCE.request(request, [theirs.fileno(), *standard])
        return int(await _line(ours)), ours
    except BaseException:
        ours.close()
        raise


async def _line(asked: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = await asyncio.get_running_loop().sock_recv(asked, 1)
        if not piece:
            raise NotStarted("the process that the program is forked from is gone")
        line += piece
    return line
