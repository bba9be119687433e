"""A scanner that fails in any way: nothing leaves unscanned, nothing is lost, and when it is back all goes on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from relay.settings.models import Store
from tests.faults.around.play import Around
from tests.faults.around.scanner import FEW, QUICK_SCAN, meddler, scanner
from tests.faults.rounds import Report
from tests.faults.stand import TRIES, stand
from tests.servers.clamd import Clamd, running_clamd

SEED = 33


@pytest.fixture
def own_clamd() -> Iterator[Clamd]:
    """One that may be killed."""
    with running_clamd() as clamd:
        yield clamd


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_scanner_that_is_killed_hangs_answers_garbage_or_half_lets_nothing_out_and_loses_nothing(
    tmp_path: Path, database: Store, own_clamd: Clamd
) -> None:
    async def story() -> None:
        report = Report()
        async with meddler(own_clamd.socket, Random(SEED)) as between:
            settings = {"clamd": {"socket": str(between.socket), **QUICK_SCAN}}
            async with stand(tmp_path, database, own_clamd, seed=SEED, settings=settings, tries=TRIES) as at:
                faults = scanner(between, own_clamd)
                await Around(at, report).play_all({name: faults[name] for name in FEW})
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
