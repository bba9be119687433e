"""A backup that is put back under the relay: it starts with the brake on, and what is lost from the store comes back from the spool."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.faults.around.backup import BACKUP
from tests.faults.around.play import Around
from tests.faults.rounds import Report
from tests.faults.stand import stand
from tests.servers.clamd import Clamd

SEED = 36


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_store_that_went_back_loses_nothing_that_heard_250(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, database, shared_clamd, seed=SEED) as at:
            await Around(at, report).play_all(BACKUP)
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
