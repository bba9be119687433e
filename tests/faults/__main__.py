"""`make faults`: as many rounds as wanted, on stands of a few rounds each, with the table at the end.

python -m tests.faults --rounds 300 --seed 1
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tests.faults.disk import DiskFault
from tests.faults.disk_faults import SPOOL_FAULTS, STORE_FAULTS
from tests.faults.patient import over_bucket
from tests.faults.rounds import Report, run_rounds
from tests.faults.stand import stand
from tests.faults.windows import ON_RELAY, SEVERAL_ONLY, SQLITE_ONLY, WINDOWS
from tests.servers import s3
from tests.servers.clamd import Clamd, running_clamd
from tests.servers.database import Database, sqlite_database
from tests.servers.postgres import Cluster, running
from tests.servers.s3 import Ceph

Item = TypeVar("Item")
ON_ONE_STAND = 12
DISK = (*SPOOL_FAULTS, *STORE_FAULTS)
KINDS = ("SQLite", "PostgreSQL", "SQLite", "processes over S3")
"""Of the stands, one after the other. On PostgreSQL the disk of the database is not ours to break; several processes are killed with their
parent, or one of them alone, and their bodies lie in an object store."""
PROCESSES = 2


def shuffled(items: list[Item], rng: Random) -> Iterator[Item]:
    """Each as often as the others, in an order of chance, without end."""
    while True:
        yield from rng.sample(items, len(items))


class Plan:
    """What is played on which kind of stand: two kills for each fault of the disk, where it has one that can be broken."""

    def __init__(self, seed: int) -> None:
        rng = Random(seed)
        self._kills = shuffled([window for window in WINDOWS if window not in SEVERAL_ONLY], rng)
        self._postgres = shuffled([window for window in WINDOWS if window not in (*SQLITE_ONLY, *SEVERAL_ONLY)], rng)
        self._processes = shuffled([window for window in WINDOWS if window not in (*SQLITE_ONLY, *ON_RELAY)], rng)
        self._faults = shuffled(list(DISK), rng)
        self._spool_faults = shuffled(list(SPOOL_FAULTS), rng)

    def stand(self, rounds: int, kind: str) -> list[str | DiskFault]:
        """So many rounds."""
        if kind == "processes over S3":
            return [next(self._processes) for _ in range(rounds)]
        kills, faults = (self._postgres, self._spool_faults) if kind == "PostgreSQL" else (self._kills, self._faults)
        return [next(faults) if number % 3 == 2 else next(kills) for number in range(rounds)]


@contextmanager
def database_of(kind: str, cluster: Cluster, folder: Path) -> Iterator[Database]:
    """A migrated store that nobody else uses."""
    if kind != "SQLite":
        database = cluster.new_database(migrated=True)
        yield database
        cluster.drop(database)
        return
    database = sqlite_database(folder)
    database.upgrade()
    yield database


def settings_of(kind: str, ceph: Ceph, folder: Path) -> dict[str, Any]:
    """What a kind of stand has beside its store."""
    if kind != "processes over S3":
        return {}
    bucket = ceph.new_bucket(folder / "bucket")
    return {"processes": PROCESSES, "spool": over_bucket(bucket)}


async def play(rounds: int, seed: int, clamd: Clamd, cluster: Cluster, ceph: Ceph, folder: Path) -> Report:
    """All rounds; progress goes to standard error."""
    report, plan, begun = Report(), Plan(seed), time.monotonic()

    def said(what: str) -> None:
        done = sum(tally.rounds for tally in report.tallies.values())
        print(f"{done}/{rounds}  {time.monotonic() - begun:.0f} s  {what}  faults: {len(report.faults)}", file=sys.stderr)

    for number, first in enumerate(range(0, rounds, ON_ONE_STAND), 1):
        kind = KINDS[(number - 1) % len(KINDS)]
        suffix = "" if kind == "SQLite" else f" ({kind})"
        home = folder / str(number)
        home.mkdir()
        planned = plan.stand(min(ON_ONE_STAND, rounds - first), kind)
        with database_of(kind, cluster, home) as database:
            try:
                settings = settings_of(kind, ceph, home)
                async with stand(home, database.relay, clamd, seed=seed + number, owner=database.owner, settings=settings) as at:
                    await run_rounds(at, clamd, planned, report, said, suffix)
            except (AssertionError, TimeoutError) as error:  # the rest of the rounds has another stand
                report.tally(f"stand {number} did not come to its end").faults.append(str(error)[-3000:])
    return report


def main() -> int:
    """Exit status 1 where a promise was broken, or a round proved nothing."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="sluis-faults-") as folder,
        running_clamd() as clamd,
        running() as cluster,
        s3.running() as ceph,
    ):
        report = asyncio.run(play(asked.rounds, asked.seed, clamd, cluster, ceph, Path(folder)))
    print(report)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
