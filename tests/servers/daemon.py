"""What foreign mail servers need in a test: root where they insist on it, a start and an end that are awaited."""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

POLL_SECONDS = 0.02
"""How often a file of a foreign process is looked at: nothing announces a change there."""
START_SECONDS = 90.0
"""A machine with much else to do may need long. Like all that is waited for here it costs time where a test fails, and only there."""
STOP_SECONDS = 60.0
LOG_SECONDS = 90.0
_MEMORY = Path("/dev/shm")
_ROOM = 2**30


class ServerFailed(AssertionError):
    """A server did not start, or ended; the text is what it last wrote."""


def as_root(command: Sequence[str | Path]) -> list[str]:
    """The command as root runs it; anybody else needs sudo without a password, as tests/setup/debian.sh does."""
    words = [str(word) for word in command]
    return words if os.geteuid() == 0 else ["sudo", "-n", *words]


def new_home(name: str) -> Path:
    """An empty folder that servers under users of their own may enter: the folders of pytest are closed to them."""
    home = Path(tempfile.mkdtemp(prefix=f"sluis-{name}-"))
    home.chmod(0o755)
    return home


def new_home_in_memory(name: str) -> Path:
    """The same, in memory where there is room for some servers: sync is asked for all the same, and no test cuts the power."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM:
        return new_home(name)
    home = Path(tempfile.mkdtemp(prefix=f"sluis-{name}-", dir=_MEMORY))
    home.chmod(0o755)
    return home


def remove_home(home: Path) -> None:
    """Removes what `new_home` made, whoever owns the files in it by now."""
    if os.geteuid() == 0:
        shutil.rmtree(home)
    else:
        subprocess.run(as_root(["rm", "-r", "--", home]), check=True)


async def until_port_answers(port: int, process: asyncio.subprocess.Process, output: Path) -> None:
    """Waits for the greeting of an SMTP server. Raises ServerFailed."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _greets(port):
                if process.returncode is not None:
                    raise ServerFailed(output.read_text(errors="replace")[-2000:])
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise ServerFailed(f"nothing answers on port {port}: {output.read_text(errors='replace')[-2000:]}") from None


async def _greets(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        greeting = await reader.readline()
        writer.write(b"QUIT\r\n")
        await reader.read()
    except OSError:
        return False
    finally:
        writer.close()
    return greeting.startswith(b"220 ")


async def until_line(path: Path, pattern: str, timeout: float = LOG_SECONDS, count: int = 1) -> list[str]:
    """Waits until `count` lines of a log match, and gives them. Raises ServerFailed with the end of the log."""
    wanted = re.compile(pattern)
    try:
        async with asyncio.timeout(timeout):
            while True:
                text = path.read_text(errors="replace") if path.exists() else ""
                lines = [line for line in text.splitlines() if wanted.search(line)]
                if len(lines) >= count:
                    return lines
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise ServerFailed(f"no {count} lines with {pattern!r} in:\n{text[-4000:]}") from None


@asynccontextmanager
async def running(command: Sequence[str | Path], output: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process while it runs in the foreground; ended by its id, and only if it does not listen, killed."""
    with output.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *map(str, command), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        subprocess.run(as_root(["kill", str(process.pid)]), check=False)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        subprocess.run(as_root(["kill", "-KILL", str(process.pid)]), check=False)
        await process.wait()
