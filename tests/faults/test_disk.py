"""A disk that fails or is full: never a 250 without durability, never altered bytes, and the reply or the log says why."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.faults.disk_faults import FULL_AT_OUTCOME, QUICK, QUICK_SPOOL
from tests.faults.rounds import Report, run_rounds
from tests.faults.stand import stand
from tests.servers.clamd import Clamd
from tests.servers.database import Database

SEED = 20_261_125


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_disk_that_fails_costs_no_message_and_says_why(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, database, shared_clamd, seed=SEED) as at:
            await run_rounds(at, shared_clamd, QUICK, report)
        assert report.faults == [], str(report)
        answered = report.tally(str(FULL_AT_OUTCOME))
        assert (answered.rounds, answered.possible_duplicates) == (1, 0), "the store is asked again, and not the next hop"

    asyncio.run(story())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_disk_of_the_bodies_fails_beside_postgresql(tmp_path: Path, new_database: Database, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, new_database.relay, shared_clamd, seed=SEED, owner=new_database.owner) as at:
            await run_rounds(at, shared_clamd, QUICK_SPOOL, report)
        assert report.faults == [], str(report)

    asyncio.run(story())
