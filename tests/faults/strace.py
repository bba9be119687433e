"""Faults at an exact system call of a running process, without hooks in the product: strace(1) attaches, and injects.

A signal is injected on entry. SIGKILL there ends the process before the call is made; SIGSTOP takes effect when the call has been made
(a sync is not interrupted), and freezes all threads, so that a test can look at the moment and kill then. Counting begins when strace
attaches, and is each thread's own (strace(1), "Tampering"), so that `when=1` is the first such call from now on in any thread.
"""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.daemon import POLL_SECONDS, as_root
from tests.servers.processes import ended, stopped
from tests.stories.house import until

INJECTED = re.compile(r"\((?:INJECTED|DELAYED)\)|\+\+\+ killed by SIGKILL|--- SIG(?:STOP|KILL) |--- stopped by SIGSTOP ---")
STOP = "--- SIGSTOP {"
"""Where the signal is delivered: in one thread, whereupon all stop."""
WRITES = ("write", "pwrite64", "writev", "pwritev")
SYNCS = ("fsync", "fdatasync")
ATTACH_SECONDS = 60.0
DETACH_SECONDS = 20.0
SECONDS = 60.0
"""For what comes within moments, unless the machine is busy or it never comes: they cost time in that case only."""


class NotInWindow(AssertionError):
    """The fault came at another moment, or not at all: the round proves nothing."""


@dataclass(frozen=True)
class Inject:
    """`calls` by name; `what` as strace has it: `signal=SIGKILL`, `error=EIO`, `delay_exit=1000000`; `when` as `1`, `2+` (the second and
    all after it) or `1+3` (the first and every third after it)."""

    calls: tuple[str, ...]
    what: str
    when: str = "1"

    def __str__(self) -> str:
        return f"inject={','.join(self.calls)}:{self.what}:when={self.when}"


class Trace:
    """What strace has written."""

    def __init__(self, path: Path, pids: Sequence[int]) -> None:
        self._path = path
        self._pids = pids

    def lines(self) -> list[str]:
        """Every traced call, with the id of its thread in front."""
        return self._path.read_text(errors="replace").splitlines() if self._path.exists() else []

    def injected(self) -> list[str]:
        """Those that were tampered with, and what followed from a signal."""
        return [line for line in self.lines() if INJECTED.search(line)]

    async def until_injected(self, seconds: float = SECONDS) -> str:
        """Waits for the first; gives its line."""
        await until(self.injected, "an injection", seconds)
        return self.injected()[0]

    async def until_ended(self, seconds: float = SECONDS) -> None:
        """Waits until the first process has come to its end. Who started it can only hear of that when strace is gone: a thread that was
        being made at that moment belongs to strace, and is never taken notice of."""
        await until(lambda: ended(self._pids[0]), "the end of the process", seconds)

    async def until_stopped(self, stops: int = 1, seconds: float = SECONDS) -> None:
        """Waits until every thread of a process stands still after so many of the SIGSTOPs that strace has injected."""

        def still() -> bool:
            return sum(STOP in line for line in self.lines()) >= stops and any(stopped(pid) for pid in self._pids)

        await until(still, "a process that stands still", seconds)


async def freeze(pid: int) -> None:
    """Stops all threads of a process."""
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid), "a process that stands still")


def thaw(pid: int) -> None:
    """Lets a process that stands still go on."""
    os.kill(pid, signal.SIGCONT)


async def _detach(process: asyncio.subprocess.Process, pids: Sequence[int]) -> None:
    """Ends strace, so that what it traced goes on alone. What is dead needs no gentleness, and strace may wait for it without end."""
    assert process.stderr is not None
    deadline = time.monotonic() + DETACH_SECONDS
    if process.returncode is None and not _all_ended(pids):
        _signal(process.pid, signal.SIGTERM)
        while process.returncode is None and not _all_ended(pids) and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
    if process.returncode is None:
        _signal(process.pid, signal.SIGKILL)
    await process.stderr.read()
    await process.wait()


def _all_ended(pids: Sequence[int]) -> bool:
    return all(ended(pid) for pid in pids)


def _signal(pid: int, number: signal.Signals) -> None:
    subprocess.run(as_root(["kill", f"-{number.name[3:]}", str(pid)]), check=False, stderr=subprocess.DEVNULL)


@asynccontextmanager
async def traced(pids: Sequence[int], *injects: Inject, output: Path, paths: Sequence[Path] = ()) -> AsyncIterator[Trace]:
    """strace on all threads of some processes, until the end of the block or of the processes. One of them may be gone already. With
    `paths`, only calls on these files count. Needs root, for the relay hides its memory. Raises NotInWindow where it traces nothing."""
    calls = ",".join(call for inject in injects for call in inject.calls)
    words: list[str | Path] = ["strace", "-f", "-s", "16", "-o", output, "-e", f"trace={calls}", "-e", "signal=SIGSTOP,SIGKILL"]
    for inject in injects:
        words += ["-e", str(inject)]
    for path in paths:
        words += ["-P", path]
    process = await asyncio.create_subprocess_exec(
        *as_root([*words, *(word for pid in pids for word in ("-p", str(pid)))]), stdin=subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        there = await _attached(process, pids)
        yield Trace(output, there)
    finally:
        await _detach(process, pids)


async def _attached(process: asyncio.subprocess.Process, pids: Sequence[int]) -> list[int]:
    """Waits until strace has taken or missed each; gives those that it has. It tells of threads that are made meanwhile, too."""
    assert process.stderr is not None
    said = b""

    def taken(pid: int) -> bool:
        return b"Process %d attached" % pid in said

    try:
        async with asyncio.timeout(ATTACH_SECONDS):
            while not all(taken(pid) or b"(PTRACE_SEIZE, %d)" % pid in said for pid in pids):
                line = await process.stderr.readline()
                if not line:
                    break
                said += line
    except TimeoutError:
        raise NotInWindow(f"strace was not there in time: {said.decode()}") from None
    there = [pid for pid in pids if taken(pid)]
    if not there:
        raise NotInWindow(f"strace did not attach: {said.decode()}")
    return there
