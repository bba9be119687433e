"""kill -9 at any moment: who heard 250 is delivered, held, quarantined or bounced, and what arrived twice is named."""

import asyncio
from pathlib import Path

from tests.faults.rounds import Report, run_rounds
from tests.faults.stand import stand
from tests.faults.windows import windows_of
from tests.servers.clamd import Clamd
from tests.servers.database import Database

SEED = 20_261_124
COMMITS = ("before commit", "after commit", "before mark", "before final dot", "after next hop's 250", "after outcome")
"""Where PostgreSQL takes another way than SQLite; `make faults` plays every window on both."""


def test_a_relay_that_is_killed_in_any_window_keeps_its_promises(tmp_path: Path, new_database: Database, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, new_database.relay, shared_clamd, seed=SEED, owner=new_database.owner) as at:
            await run_rounds(at, shared_clamd, windows_of(at) if new_database.dialect == "sqlite" else COMMITS, report)
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
