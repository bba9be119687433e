"""The checker finds what it is there for: relays with a planted bug are reported, and one without is not."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from relay.model.delivery import State
from relay.settings.models import Store
from relay.store import states
from tests.faults.client import SMALL
from tests.faults.stand import CLERKS, DESK, HELD, Stand, stand
from tests.servers.clamd import Clamd
from tests.servers.database import Database

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def _accept_and_kill(at: Stand, recipients: Sequence[str] = CLERKS[:1]) -> None:
    """The client hears 250, and the next hop has nothing yet."""
    release = at.hop.hold("MAIL")
    assert (await at.send(recipients, SMALL)).heard_250
    await at.kill()
    release()
    await at.start()
    await at.settle()


@SQLITE
def test_a_relay_that_says_250_before_the_commit_is_found(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        async with stand(tmp_path, database, shared_clamd, seed=1, module="tests.faults.planted.early_250") as at:
            await _accept_and_kill(at)
            (found,) = at.check().violations
            assert (found.promise, "heard 250 and is gone" in found.what) == (1, True)

    asyncio.run(story())


@SQLITE
def test_a_relay_that_loses_an_outcome_is_found(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        async with stand(tmp_path, database, shared_clamd, seed=2, module="tests.faults.planted.lost_outcome") as at:
            assert (await at.send([CLERKS[0]], SMALL)).heard_250
            await at.settle()
            verdict = at.check()
            (found,) = verdict.violations
            assert (found.promise, "arrived 2 times, and the record names 0" in found.what) == (1, True)
            assert verdict.duplicates == 1

    asyncio.run(story())


@SQLITE
def test_a_relay_whose_recovery_deletes_or_bounces_is_found(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        async with stand(tmp_path, database, shared_clamd, seed=4, module="tests.faults.planted.eager_recovery") as at:
            await _accept_and_kill(at, CLERKS[:2])
            found = {(violation.promise, violation.what.partition(": ")[2].partition(" {")[0]) for violation in at.check().violations}
            assert {
                (1, "it was deleted, and nobody has asked for it"),
                (1, "it was bounced, and no next hop has refused it"),
                (14, "0 in the log, 1 in the rows"),
            } <= found

    asyncio.run(story())


@SQLITE
def test_what_is_held_or_quarantined_and_disappears_without_a_word_is_found(
    tmp_path: Path, new_database: Database, shared_clamd: Clamd
) -> None:
    """Rows, queue and running counts agree with each other, so that nothing in the relay notices."""

    async def story() -> None:
        async with stand(tmp_path, new_database.relay, shared_clamd, seed=5) as at:
            sent = await at.send([HELD, DESK], SMALL)
            assert (sent.heard_250, at.check().violations) == (True, [])
            engine = new_database.owner_engine()
            with engine.begin() as connection:
                for ordinal in (0, 1):
                    assert sent.id is not None
                    states.move(connection, sent.id, ordinal, State.DELETED, 1)
            engine.dispose()
            found = at.check()
            assert sum("it was deleted, and nobody has asked for it" in violation.what for violation in found.violations) == 2
            assert found.broken == {1, 2, 14}

    asyncio.run(story())


@SQLITE
def test_a_relay_without_a_planted_bug_passes_the_same(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        async with stand(tmp_path, database, shared_clamd, seed=3) as at:
            await _accept_and_kill(at)
            verdict = at.check()
            assert (verdict.violations, verdict.heard, verdict.copies, verdict.duplicates) == ([], 1, 1, 0)

    asyncio.run(story())
