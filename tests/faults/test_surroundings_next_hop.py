"""A next hop that fails in any way, at any stage: nothing is lost, and what may have arrived twice is named."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from relay.settings.models import Store
from tests.faults.around.next_hop import NEXT_HOP, OPPORTUNISTIC, PATIENT_FEW, QUICK, QUICK_FEW
from tests.faults.around.play import Around
from tests.faults.rounds import Report
from tests.faults.stand import stand
from tests.servers.clamd import Clamd

SEED = 31


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("few", "settings"), [(PATIENT_FEW, {}), (QUICK_FEW, QUICK)], ids=["answers or goes", "hangs"])
def test_a_next_hop_that_drops_hangs_refuses_or_talks_nonsense_loses_nothing(
    tmp_path: Path, database: Store, shared_clamd: Clamd, few: Sequence[str], settings: Mapping[str, Any]
) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, database, shared_clamd, seed=SEED, settings=settings, policy=OPPORTUNISTIC) as at:
            await Around(at, report).play_all({name: NEXT_HOP[name] for name in few})
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
