"""PostgreSQL stops, crashes, fails over: nothing that heard 250 is lost; after a failover to a standby that lagged nothing leaves."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from relay.store.high_water import newest_event, read_marks
from tests.faults.around.play import Around
from tests.faults.around.postgres import fail_over, full, postgres
from tests.faults.client import SMALL, Transaction
from tests.faults.rounds import Report
from tests.faults.stand import CLERKS, Stand, stand
from tests.servers.clamd import Clamd
from tests.servers.standby import Server, server, server_on_small_disk
from tests.stories.house import until

SEED = 34
ASYNCHRONOUS = {"store": {"standby": "asynchronous"}}

DISK_MEGABYTES = 160
"""Three databases, and room to add to one of them."""


@pytest.fixture
def primary() -> Iterator[Server]:
    """A server that may be killed."""
    with server() as primary:
        yield primary


def test_a_database_that_stops_or_crashes_at_any_moment_loses_nothing(tmp_path: Path, primary: Server, shared_clamd: Clamd) -> None:
    async def story() -> None:
        database = primary.new_database(migrated=True)
        report = Report()
        async with stand(tmp_path, database.relay, shared_clamd, seed=SEED, owner=database.owner) as at:
            await Around(at, report).play_all(postgres(primary))
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())


def test_a_database_whose_disk_is_full_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        with server_on_small_disk(DISK_MEGABYTES) as (primary, disk):
            database = primary.new_database(migrated=True)
            async with stand(tmp_path, database.relay, shared_clamd, seed=SEED, owner=database.owner) as at:
                await Around(at, report).play("PostgreSQL full", full(disk))
        assert report.faults == [], str(report)

    asyncio.run(story())


def test_a_failover_to_a_synchronous_standby_loses_nothing(tmp_path: Path, primary: Server, shared_clamd: Clamd) -> None:
    async def story() -> None:
        database = primary.new_database(migrated=True)
        settings = {"store": {"standby": "synchronous"}}
        with ExitStack() as standbys:
            standby = standbys.enter_context(primary.standby())
            primary.follow_synchronously()

            async def renewed() -> None:
                standbys.enter_context(standby.standby())
                standby.follow_synchronously()

            async with stand(tmp_path, database.relay, shared_clamd, seed=SEED, settings=settings, owner=database.owner) as at:
                await until(lambda: any(b'"waits": true' in mark for mark in marks(at).values()), "a mark of commits that waited")
                assert await fail_over(at, primary, standby, renewed)
                await until(lambda: '"alert": "store-switched"' in at.house.log(), "the failover to be told")
                assert not (await at.house.sluis("brake", "show", "--json")).json["brake"]

    asyncio.run(story())


async def rebuilt(at: Stand, lost: list[Transaction]) -> None:
    """From the bodies all come back, and a person looks at each, for they may have arrived."""
    await at.house.stop()
    said = await at.house.sluis("store", "rebuild", "--reason", "the standby lagged")
    assert said.code == 0, said.err
    await at.start()
    for one in lost:
        assert [(row.state, row.possible_duplicates) for row in at.rows_of(one)] == [("quarantined", 1)]


def test_a_standby_that_lagged_by_less_than_a_mark_could_tell_is_noticed_all_the_same(
    tmp_path: Path, primary: Server, shared_clamd: Clamd
) -> None:
    """The mark names what the standby has, and then comes one message: it heard 250, and the failover loses it."""

    async def story() -> None:
        database = primary.new_database(migrated=True)
        with primary.standby() as standby:
            async with stand(tmp_path, database.relay, shared_clamd, seed=SEED, settings=ASYNCHRONOUS, owner=database.owner) as at:
                known = await at.send([CLERKS[0]], SMALL)
                await at.settle()
                await until(lambda: marks(at), "a mark")
                before = marks(at)
                primary.until(f"SELECT replay_lsn >= '{primary.ask('SELECT pg_current_wal_flush_lsn()')}' FROM pg_stat_replication", True)
                standby.stop()
                lost = await at.send([CLERKS[0]], SMALL)
                assert lost.heard_250
                await at.settle()
                await at.kill()
                for path, mark in before.items():  # as if less than its second had gone by
                    path.write_bytes(mark)
                standby.take_over(primary)
                await at.start()
                await until(lambda: '"store-behind"' in at.house.log(), lambda: at.house.log()[-3000:])
                said = (await at.house.sluis("brake", "show", "--json")).json
                assert (said["brake"], "says that commits went to timeline 1 of system" in said["reason"]) == (True, True)
                assert (len(at.rows_of(known)), at.rows_of(lost)) == (1, [])
                assert lost.id is not None
                assert lost.id.hex in set(at.spool_names()), "a body that heard 250 is gone"
                await rebuilt(at, [lost])

    asyncio.run(story())


def marks(at: Stand) -> dict[Path, bytes]:
    """The marks beside the bodies."""
    return {path: path.read_bytes() for path in (at.house.folder / "spool").glob("high-water-*.json")}


def mark_is_newest(at: Stand) -> bool:
    """Whether all that was committed until now is named by the marks. They are moved once a second."""
    named = {mark.event for mark in read_marks({path.name: mark for path, mark in marks(at).items()})}
    return named == {at.look(partial(newest_event, now_us=time.time_ns() // 1000))}


@pytest.mark.parametrize("running", [True, False], ids=["under a relay that runs", "while it is down"])
def test_after_a_failover_to_a_standby_that_lagged_nothing_leaves_and_the_bodies_are_kept(
    tmp_path: Path, primary: Server, shared_clamd: Clamd, *, running: bool
) -> None:
    async def story() -> None:
        database = primary.new_database(migrated=True)
        with primary.standby() as standby:
            async with stand(tmp_path, database.relay, shared_clamd, seed=SEED, settings=ASYNCHRONOUS, owner=database.owner) as at:
                known = await at.send([CLERKS[0]], SMALL)
                await at.settle()
                primary.until(f"SELECT replay_lsn >= '{primary.ask('SELECT pg_current_wal_flush_lsn()')}' FROM pg_stat_replication", True)
                standby.stop()
                lost = [await at.send([CLERKS[0]], SMALL) for _ in range(3)]
                await at.settle()
                assert all(one.heard_250 for one in lost)
                left = len(at.hop.copies)
                await until(lambda: mark_is_newest(at), "a mark that names the newest event")
                if not running:
                    await at.kill()
                standby.take_over(primary)
                if not running:
                    await at.start()
                await until(lambda: '"store-behind"' in at.house.log(), lambda: at.house.log()[-3000:])
                said = (await at.house.sluis("brake", "show", "--json")).json
                assert said["brake"]
                assert "a standby that lagged" in said["reason"]
                after = await at.send([CLERKS[0]], SMALL)
                assert after.heard_250
                await at.settle()
                assert [row.state for row in at.rows_of(after)] == ["held"]
                assert len(at.hop.copies) == left, "something left under the brake"
                assert known.id in {row.message_id for row in at.rows_of(known)}
                names = set(at.spool_names())
                for one in lost:
                    assert at.rows_of(one) == []
                    assert one.id is not None
                    assert one.id.hex in names, "a body that heard 250 is gone"
                await rebuilt(at, lost)

    asyncio.run(story())
