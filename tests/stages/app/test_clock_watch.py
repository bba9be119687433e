"""A machine whose clock is wrong claims nothing, and says so."""

import asyncio
import time

import pytest

from relay.app.clock_watch import ClockWatch
from relay.observe.alerts import Alerts
from tests.servers.recording import SECOND, Recording

LEASE_SECONDS = 60
SHORT_SECONDS = 0.2
TRIES = 5


class ShiftedClock:
    """A clock that is `seconds` ahead."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now_us(self) -> int:
        return time.time_ns() // 1000 + int(self.seconds * SECOND)


def wrong(recording: Recording, seconds: float) -> tuple[bool, int]:
    """Whether that is wrong, and how often it is told."""

    async def story() -> tuple[bool, int]:
        alerts = Alerts()
        watch = ClockWatch(recording.reader, ShiftedClock(seconds), alerts, LEASE_SECONDS)
        await watch.look()
        await watch.look()
        return watch.wrong, alerts.counts["clock"]

    return asyncio.run(story())


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("seconds", "expected"), [(0, (False, 0)), (10, (False, 0)), (-10, (False, 0)), (30, (True, 1)), (-30, (True, 1))])
def test_a_clock_that_is_off_by_more_than_a_quarter_of_a_lease_is_wrong(
    recording: Recording, seconds: float, expected: tuple[bool, int]
) -> None:
    assert wrong(recording, seconds) == expected


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_clock_that_was_put_right_is_right(recording: Recording) -> None:
    async def story() -> None:
        clock = ShiftedClock(3600)
        watch = ClockWatch(recording.reader, clock, Alerts(), LEASE_SECONDS)
        await watch.look()
        assert watch.wrong
        clock.seconds = 0
        await watch.look()
        assert not watch.wrong

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_where_there_is_one_process_no_clock_is_wrong(recording: Recording) -> None:
    assert wrong(recording, 3600) == (False, 0)


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_clock_that_is_set_counts_as_wrong_for_a_lease_where_other_processes_hold_leases(recording: Recording, step: float) -> None:
    """Theirs seem to be over until they are renewed."""
    clock = ShiftedClock(0)
    shared = ClockWatch(recording.reader, clock, Alerts(), LEASE_SECONDS, shared=True)
    short = ClockWatch(recording.reader, clock, Alerts(), SHORT_SECONDS, shared=True)
    alone = ClockWatch(recording.reader, clock, Alerts(), LEASE_SECONDS)
    assert not shared.wrong
    clock.seconds += LEASE_SECONDS / 5
    assert not shared.wrong
    clock.seconds += step
    assert (shared.wrong, short.wrong, alone.wrong) == (True, True, False)
    # A machine that stands still between two looks at its clocks has made another step: some try is without one.
    assert any(seconds_wrong(short, clock, step) < 2 * SHORT_SECONDS for _ in range(TRIES))
    assert shared.wrong


def seconds_wrong(watch: ClockWatch, clock: ShiftedClock, step: float) -> float:
    """How long the clock counts as wrong when it is set."""
    clock.seconds += step
    began, looks = time.monotonic(), 0
    while watch.wrong:
        looks += 1
        time.sleep(SHORT_SECONDS / 10)
    assert looks
    return time.monotonic() - began
