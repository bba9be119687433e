"""One relay with a real clamd and a sink, and clients in a process of their own."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.memory.pss import MB, Peak, pss, tree
from bench.memory.sink import discarding
from tests.servers.certificates import issue, make_ca
from tests.servers.clamd import running_clamd
from tests.servers.database import sqlite_database
from tests.stories.house import House, house

SECONDS = 500.0
CLAMD = {"StreamMaxLength": "200M", "MaxScanSize": "200M", "MaxFileSize": "200M"}


@dataclass
class Measured:
    """Octets of the whole tree (clamd apart) before, at the most, and with the clients still there; what the clients said."""

    before: int
    peak: int = 0
    held: int = 0
    each: dict[int, int] = field(default_factory=dict)
    said: Any = None

    def __str__(self) -> str:
        each = " + ".join(f"{value / MB:.0f}" for value in self.each.values())
        return f"{self.before / MB:.0f} MB before, {self.peak / MB:.0f} MB at most ({each}), {self.held / MB:.0f} MB held; {self.said}"


@asynccontextmanager
async def relay(folder: Path, connections: int = 6000, **inspection: Any) -> AsyncIterator[House]:
    """Two listeners with TLS, `inside` (STARTTLS) and `tls` (from the start), wide open to this machine."""
    database = sqlite_database(folder)
    await asyncio.to_thread(database.upgrade)
    chain, key = issue(make_ca(folder / "ca"), ["relay.prosecution.example"])
    common = {
        "side": "inside",
        "addresses": ["127.0.0.1:0"],
        "require_tls": False,
        "tls": {"certificate": str(chain), "key": str(key)},
        "connections_per_address": 100_000,
        "connections_per_minute": 1_000_000,
    }
    listeners = [
        {"name": "inside", **common, "connections": connections},
        {"name": "tls", **common, "connections": connections // 10, "implicit_tls": True},
    ]
    with running_clamd(**CLAMD) as clamd:
        settings = {"listeners": listeners, "clamd": {"socket": str(clamd.socket)}, "inspection": {"workers": 2, **inspection}}
        async with discarding() as port, house(folder, database.relay, outside=port, settings=settings) as sluis:
            yield sluis


@asynccontextmanager
async def clients(sluis: House, kind: str, count: int, *more: object, listener: str = "inside") -> AsyncIterator[Measured]:
    """What `bench.memory.load` does, until the end of the block."""
    measured = Measured(sum(pss(tree(sluis.pid)).values()))
    words = [sys.executable, "-m", "bench.memory.load", kind, str(sluis.port(listener)), str(count), *map(str, more)]
    pipe = asyncio.subprocess.PIPE
    with Peak(sluis.pid) as peak:
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[2])
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(SECONDS):
                line = await process.stdout.readline()
            assert line, "the clients failed"
            measured.said = json.loads(line)
        except BaseException:
            process.kill()
            await process.wait()
            raise
    measured.held = sum(pss(tree(sluis.pid)).values())
    measured.peak, measured.each = max((peak.total, peak.each), (measured.held, pss(tree(sluis.pid))), key=lambda pair: pair[0])
    try:
        yield measured
    finally:
        process.stdin.close()
        process.kill()
        await process.wait()
