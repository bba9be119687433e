"""`make faults`: as many rounds as wanted, on stands of a few rounds each, with the table at the end.

python -m tests.faults --rounds 300 --seed 1
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.faults.disk import DiskFault
from tests.faults.disk_faults import SPOOL_FAULTS, STORE_FAULTS
from tests.faults.rounds import Report, run_rounds
from tests.faults.stand import stand
from tests.faults.windows import WINDOWS
from tests.servers.clamd import Clamd, running_clamd
from tests.servers.database import sqlite_database

ON_ONE_STAND = 20
DISK = (*SPOOL_FAULTS, *STORE_FAULTS)


def plan(rounds: int, rng: Random) -> list[str | DiskFault]:
    """Two kills for each fault of the disk; each window and each fault as often as the others, in an order of chance."""
    kills: list[str | DiskFault] = [window for _ in range(rounds // len(WINDOWS) + 1) for window in rng.sample(list(WINDOWS), len(WINDOWS))]
    faults: list[str | DiskFault] = [fault for _ in range(rounds // len(DISK) + 1) for fault in rng.sample(DISK, len(DISK))]
    return [faults.pop() if number % 3 == 2 else kills.pop() for number in range(rounds)]


async def play(rounds: int, seed: int, clamd: Clamd, folder: Path) -> Report:
    """All rounds; progress goes to standard error."""
    report = Report()
    begun = time.monotonic()
    planned = plan(rounds, Random(seed))

    def said(what: str) -> None:
        done = sum(tally.rounds for tally in report.tallies.values())
        print(f"{done}/{rounds}  {time.monotonic() - begun:.0f} s  {what}  faults: {len(report.faults)}", file=sys.stderr)

    for start in range(0, rounds, ON_ONE_STAND):
        home = folder / str(start)
        home.mkdir()
        database = sqlite_database(home)
        database.upgrade()
        async with stand(home, database.relay, clamd, seed=seed + start) as at:
            await run_rounds(at, clamd, planned[start : start + ON_ONE_STAND], report, said)
    return report


def main() -> int:
    """Exit status 1 where a promise was broken, or a round proved nothing."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluis-faults-") as folder, running_clamd() as clamd:
        report = asyncio.run(play(asked.rounds, asked.seed, clamd, Path(folder)))
    print(report)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
