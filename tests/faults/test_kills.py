"""kill -9 at any moment: who heard 250 is delivered, held, quarantined or bounced, and what arrived twice is named."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.faults.rounds import Report, run_rounds
from tests.faults.stand import stand
from tests.faults.windows import WINDOWS
from tests.servers.clamd import Clamd

SEED = 20_261_124


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_relay_that_is_killed_in_any_window_keeps_its_promises(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, database, shared_clamd, seed=SEED) as at:
            await run_rounds(at, shared_clamd, WINDOWS, report)
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
