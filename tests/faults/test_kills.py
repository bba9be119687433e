"""kill -9 at any moment: who heard 250 is delivered, held, quarantined or bounced, and what arrived twice is named."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import ObjectStore
from tests.faults.rounds import Report, run_rounds
from tests.faults.stand import stand
from tests.servers.clamd import Clamd
from tests.servers.database import Database

SEED = 20_261_124
ROUNDS = {
    "sqlite": (
        "after spool write",
        "after pack write",
        "amid commit",
        "amid commit of a pack",
        "after commit of a pack",
        "after 250",
        "before mark",
        "after final dot",
        "during release",
        "at random",
    ),
    "postgresql": ("after pack is named", "before commit", "after commit", "before final dot", "after next hop's 250", "after outcome"),
}
"""Each window once; `make faults` plays every one on both stores, and on several processes with their bodies in an object store."""
OVER_S3 = ("after next hop's 250", "at random")


def test_a_relay_that_is_killed_in_any_window_keeps_its_promises(tmp_path: Path, new_database: Database, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, new_database.relay, shared_clamd, seed=SEED, owner=new_database.owner) as at:
            await run_rounds(at, shared_clamd, ROUNDS[new_database.dialect], report)
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_several_processes_over_an_object_store_that_are_killed_keep_their_promises(
    tmp_path: Path, new_database: Database, shared_clamd: Clamd, bucket: ObjectStore
) -> None:
    async def story() -> None:
        report = Report()
        settings = {"processes": 2, "spool": {"s3": bucket.model_dump(mode="json", exclude_unset=True)}}
        async with stand(tmp_path, new_database.relay, shared_clamd, seed=SEED, owner=new_database.owner, settings=settings) as at:
            await run_rounds(at, shared_clamd, OVER_S3, report)
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
