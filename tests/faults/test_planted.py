"""The checker finds what it is there for: relays with a planted bug are reported, and one without is not."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.faults.client import SMALL
from tests.faults.stand import CLERKS, Stand, stand
from tests.servers.clamd import Clamd

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def _accept_and_kill(at: Stand) -> None:
    """The client hears 250, and the next hop has nothing yet."""
    release = at.hop.hold("MAIL")
    assert (await at.send([CLERKS[0]], SMALL)).heard_250
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
def test_a_relay_without_a_planted_bug_passes_the_same(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        async with stand(tmp_path, database, shared_clamd, seed=3) as at:
            await _accept_and_kill(at)
            verdict = at.check()
            assert (verdict.violations, verdict.heard, verdict.copies, verdict.duplicates) == ([], 1, 1, 0)

    asyncio.run(story())
