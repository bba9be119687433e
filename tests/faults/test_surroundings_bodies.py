"""A stored body that is not what was recorded: never delivered, never dropped, and a person is told."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.faults.around.bodies import BODIES, FEW
from tests.faults.around.play import Around
from tests.faults.rounds import Report
from tests.faults.stand import stand
from tests.servers.clamd import Clamd

SEED = 32


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_body_that_is_altered_anywhere_waits_for_a_person_and_one_that_is_away_for_its_file(
    tmp_path: Path, database: Store, shared_clamd: Clamd
) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, database, shared_clamd, seed=SEED) as at:
            await Around(at, report).play_all({name: BODIES[name] for name in (f"stored body: {few}" for few in FEW)})
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
