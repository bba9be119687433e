"""Descriptors that run out, and a clock that jumps: nothing is lost, nothing is sent twice, and it goes on when all is well again."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.faults.around.play import Around
from tests.faults.around.process import DESCRIPTORS, FEW, FakeClock, clock_jumps
from tests.faults.rounds import Report
from tests.faults.stand import stand
from tests.servers.clamd import Clamd

SEED = 35


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_relay_that_can_open_nothing_more_loses_nothing_and_recovers(tmp_path: Path, database: Store, shared_clamd: Clamd) -> None:
    async def story() -> None:
        report = Report()
        async with stand(tmp_path, database, shared_clamd, seed=SEED) as at:
            await Around(at, report).play_all(DESCRIPTORS)
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_clock_that_jumps_an_hour_forward_or_back_loses_nothing_and_sends_nothing_twice(
    tmp_path: Path, database: Store, shared_clamd: Clamd, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        report = Report()
        clock = FakeClock(tmp_path)
        for name, value in clock.environment.items():
            monkeypatch.setenv(name, value)
        async with stand(tmp_path, database, shared_clamd, seed=SEED) as at:
            jumps = clock_jumps(clock)
            await Around(at, report).play_all({name: jumps[name] for name in FEW})
        assert report.faults == [], str(report)
        assert all(tally.messages for tally in report.tallies.values()), str(report)

    asyncio.run(story())
