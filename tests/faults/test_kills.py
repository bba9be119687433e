"""kill -9 at any moment: who heard 250 is delivered, held, quarantined or bounced, and what arrived twice is named."""

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from relay.settings.models import ObjectStore
from tests.faults.bombs import Point, bomb
from tests.faults.checker import Verdict
from tests.faults.client import SMALL
from tests.faults.packs import TOGETHER, Inspections
from tests.faults.patient import over_bucket
from tests.faults.rounds import Report, judged, run_rounds
from tests.faults.stand import LOOK_SECONDS, stand
from tests.servers.clamd import Clamd
from tests.servers.database import Database
from tests.servers.s3 import Ceph
from tests.stories.house import until

SEED = 20_261_124
ROUNDS = {
    "sqlite": ("after spool write", "amid commit", "after 250", "before mark", "after final dot", "during release", "at random"),
    "postgresql": ("before commit", "after commit", "before final dot", "after next hop's 250", "after outcome"),
}
PACKS = {
    "sqlite": ("after pack write", "amid commit of a pack", "after commit of a pack"),
    "postgresql": ("after pack is named",),
}
"""Each window once; `make faults` plays every one on both stores, and on several processes with their bodies in an object store."""
OVER_S3 = ("after next hop's 250", "at random", "one of several processes")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("windows", [ROUNDS, PACKS], ids=["one message", "a pack of several"])
def test_a_relay_that_is_killed_in_any_window_keeps_its_promises(
    tmp_path: Path, new_database: Database, shared_clamd: Clamd, windows: Mapping[str, Sequence[str]]
) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, new_database.relay, shared_clamd, seed=SEED, owner=new_database.owner) as at:
            await run_rounds(at, shared_clamd, windows[new_database.dialect], report)
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_several_processes_over_an_object_store_that_are_killed_keep_their_promises(
    tmp_path: Path, new_database: Database, shared_clamd: Clamd, bucket: ObjectStore
) -> None:
    async def story() -> None:
        report = Report()
        settings = {"processes": 2, "spool": over_bucket(bucket)}
        async with stand(tmp_path, new_database.relay, shared_clamd, seed=SEED, owner=new_database.owner, settings=settings) as at:
            await run_rounds(at, shared_clamd, OVER_S3, report)
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_relay_that_is_killed_between_a_pack_in_the_object_store_and_its_commit_keeps_its_promises(
    tmp_path: Path, new_database: Database, shared_clamd: Clamd, ceph: Ceph, bucket: ObjectStore
) -> None:
    """The object store stands still until all are inspected, so that all but the first two come to wait for each other; then the database
    is locked, and commits nothing."""

    async def story() -> None:
        settings = {"spool": over_bucket(bucket)}
        async with stand(tmp_path, new_database.relay, shared_clamd, seed=SEED, owner=new_database.owner, settings=settings) as at:
            fuse = bomb(at, Point.WRITING)
            transactions = [at.compose(size=SMALL) for _ in range(TOGETHER)]
            inspections = Inspections(at.house)
            with at.workers_stopped():
                sending = [asyncio.create_task(at.client.send(at.house.port(), transaction)) for transaction in transactions]
                await until(lambda: all(transaction.dot for transaction in transactions), "the final dots")
                ceph.signal(signal.SIGSTOP)
            try:
                await until(lambda: inspections.over(TOGETHER), "all but the last to be inspected")
                await fuse.arm()
            finally:
                ceph.signal(signal.SIGCONT)
            await until(lambda: len(at.spool_names()) == TOGETHER, "the bodies in the object store", every=LOOK_SECONDS)
            await fuse.gone_off()
            await asyncio.gather(*sending)
            packs = Counter(name.partition("/")[0] for name in at.spool_names() if "/" in name)
            assert max(packs.values()) > 1, f"no pack of several: {at.spool_names()}"
            assert [at.rows_of(transaction) for transaction in transactions] == [[]] * TOGETHER
            assert not any(transaction.heard_250 for transaction in transactions)
            await at.start()
            assert await at.again(transactions) == 0
            await at.settle()
            verdict = at.check()
            assert judged(verdict, Verdict()) == []
            assert (verdict.heard, verdict.duplicates) == (TOGETHER, 0)

    asyncio.run(story())
