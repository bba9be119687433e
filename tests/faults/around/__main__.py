"""Many rounds of faults of the surroundings, with the table at the end.

python -m tests.faults.around --rounds 300 --seed 1
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch

from tests.faults.around.backup import BACKUP
from tests.faults.around.bodies import BODIES
from tests.faults.around.next_hop import NEXT_HOP, OPPORTUNISTIC, QUICK
from tests.faults.around.play import Around, Fault
from tests.faults.around.postgres import fail_over, full, postgres
from tests.faults.around.process import DESCRIPTORS, FakeClock, clock_jumps
from tests.faults.around.scanner import QUICK_SCAN, meddler, scanner
from tests.faults.client import Transaction
from tests.faults.rounds import Report
from tests.faults.stand import TRIES, Stand, stand
from tests.servers.clamd import Clamd, running_clamd
from tests.servers.database import sqlite_database
from tests.servers.standby import Server, server, server_on_small_disk

ON_ONE_STAND = 30
DISK_MEGABYTES = 160
POSTGRES_EVERY = 3
"""So many stands, and one of them is on PostgreSQL, whose server is the only one that stops."""


@asynccontextmanager
async def _on_sqlite(folder: Path, clamd: Clamd, seed: int) -> AsyncIterator[tuple[Stand, Mapping[str, Fault]]]:
    """All but those of PostgreSQL."""
    database = sqlite_database(folder)
    database.upgrade()
    clock = FakeClock(folder)
    async with meddler(clamd.socket, Random(seed)) as between:
        settings = {"clamd": {"socket": str(between.socket), **QUICK_SCAN}, **QUICK}
        with patch.dict("os.environ", clock.environment):
            async with stand(folder, database.relay, clamd, seed=seed, settings=settings, policy=OPPORTUNISTIC, tries=TRIES) as at:
                yield at, {**NEXT_HOP, **BODIES, **scanner(between, clamd), **DESCRIPTORS, **clock_jumps(clock), **BACKUP}


@asynccontextmanager
async def _on_postgres(folder: Path, clamd: Clamd, primary: Server, seed: int) -> AsyncIterator[tuple[Stand, Mapping[str, Fault]]]:
    """Its server stops and crashes; the next hop fails, too."""
    database = primary.new_database(migrated=True)
    async with stand(folder, database.relay, clamd, seed=seed, settings=QUICK, policy=OPPORTUNISTIC, owner=database.owner) as at:
        yield at, {f"{name} (PostgreSQL)": fault for name, fault in NEXT_HOP.items()} | postgres(primary)
    primary.drop(database)


async def _failed_over(at: Stand, primary: Server) -> list[Transaction]:
    """To a synchronous standby, which gets one of its own then; the server is another one afterwards."""
    with ExitStack() as standbys:
        standby = standbys.enter_context(primary.standby())
        primary.follow_synchronously()

        async def renewed() -> None:
            standbys.enter_context(standby.standby())
            standby.follow_synchronously()

        return await fail_over(at, primary, standby, renewed)


async def _alone(seed: int, clamd: Clamd, folder: Path, report: Report) -> None:
    """What needs a server of its own, each once: a failover, and a disk that is full."""
    (folder / "failover").mkdir()
    (folder / "full").mkdir()
    with server() as primary:
        database = primary.new_database(migrated=True)
        settings = {"store": {"standby": "synchronous"}}
        async with stand(folder / "failover", database.relay, clamd, seed=seed, settings=settings, owner=database.owner) as at:
            await Around(at, report).play("PostgreSQL failed over", lambda at: _failed_over(at, primary))
    with server_on_small_disk(DISK_MEGABYTES) as (small, disk):
        database = small.new_database(migrated=True)
        async with stand(folder / "full", database.relay, clamd, seed=seed, owner=database.owner) as at:
            await Around(at, report).play("PostgreSQL full", full(disk))


async def play(rounds: int, seed: int, clamd: Clamd, primary: Server, folder: Path, said: Callable[[str], None]) -> Report:
    """All rounds, in an order of chance."""
    report = Report()
    for number, first in enumerate(range(0, rounds, ON_ONE_STAND), 1):
        home = folder / str(number)
        home.mkdir()
        on_postgres = number % POSTGRES_EVERY == 0
        around = _on_postgres(home, clamd, primary, seed + number) if on_postgres else _on_sqlite(home, clamd, seed + number)
        try:
            async with around as (at, faults):
                names = list(faults)
                playing = Around(at, report)
                for _ in range(min(ON_ONE_STAND, rounds - first)):
                    name = at.rng.choice(names)
                    await playing.play(name, faults[name])
                    said(f"{sum(tally.rounds for tally in report.tallies.values())}/{rounds}  {name}  faults: {len(report.faults)}")
        except (AssertionError, TimeoutError) as error:  # the rest of the rounds has another stand
            report.tally(f"stand {number} did not come to its end").faults.append(f"{type(error).__name__}: {error}"[-3000:])
    await _alone(seed, clamd, folder, report)
    return report


def main() -> int:
    """Exit status 1 where a promise was broken, or a round proved nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.around", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    begun = time.monotonic()

    def said(what: str) -> None:
        print(f"{time.monotonic() - begun:.0f} s  {what}", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="sluis-faults-") as folder, running_clamd() as clamd, server() as primary:
        report = asyncio.run(play(asked.rounds, asked.seed, clamd, primary, Path(folder), said))
    print(report)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
