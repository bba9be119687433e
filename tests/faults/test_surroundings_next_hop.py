"""A next hop that fails in any way, at any stage: nothing is lost, and what may have arrived twice is named."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.faults.around.next_hop import FEW, NEXT_HOP, OPPORTUNISTIC, QUICK
from tests.faults.around.play import Around
from tests.faults.rounds import Report
from tests.faults.stand import stand
from tests.servers.clamd import Clamd

SEED = 31


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_next_hop_that_drops_hangs_refuses_or_talks_nonsense_loses_nothing(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, database, shared_clamd, seed=SEED, settings=QUICK, policy=OPPORTUNISTIC) as at:
            await Around(at, report).play_all({name: NEXT_HOP[name] for name in FEW})
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
