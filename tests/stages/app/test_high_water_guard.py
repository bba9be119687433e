"""A process beside the one that keeps the mark: it lets nothing leave over a connection to a store that lacks what was committed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.app.high_water_guard import HighWaterGuard
from relay.model.delivery import State
from relay.model.ids import new_id
from relay.model.ports import SystemClock
from relay.phases import state
from relay.settings.models import Store
from relay.store import high_water
from relay.store.high_water import FolderMarks, Mark
from tests.servers.copies import Copies
from tests.servers.recording import Recording, recording_on
from tests.stages.app.test_high_water import FILE, MACHINE, Watched, went_back

__all__ = ["went_back"]  # a fixture


def guarding(recording: Recording) -> HighWaterGuard:
    """As at the start of such a process."""
    guard = HighWaterGuard(FolderMarks(recording.settings.folder), recording.reader, SystemClock(), MACHINE)
    asyncio.run(guard.begin())
    return guard


def test_a_store_that_has_the_mark_is_not_suspect_and_the_mark_is_left_alone(recording: Recording) -> None:
    recording.accept()
    watched = Watched(recording).begin()
    guard = guarding(recording)
    recording.accept()
    before = (watched.folder / FILE).read_bytes()
    for _ in range(2):
        asyncio.run(guard.tick())
        assert not guard.suspect
    assert (watched.folder / FILE).read_bytes() == before


def test_one_that_went_back_is_suspect_until_a_person_has_let_go(
    went_back: Callable[[], None],
    database: Store,
    tmp_path: Path,
) -> None:
    went_back()
    with recording_on(database, tmp_path) as recording:
        guard = guarding(recording)
        assert guard.suspect
        watched = Watched(recording).begin()
        asyncio.run(guard.tick())
        assert guard.suspect
        watched.let_go()
        asyncio.run(guard.tick())
        assert guard.suspect, "the process that keeps the mark has not said yet that it moves on"
        watched.tick()
        asyncio.run(guard.tick())
        assert not guard.suspect


def test_one_that_goes_back_under_it_is_suspect_at_the_next_look(recording: Recording) -> None:
    recording.accept()
    guard = guarding(recording)
    guard._last = lost = Mark(MACHINE, new_id())
    FolderMarks(recording.settings.folder).write(lost.name, high_water.encoded(lost.to_json()))
    asyncio.run(guard.tick())
    assert guard.suspect
    asyncio.run(guard.tick())
    assert guard.suspect, "by the mark that is kept, too"


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_new_connection_to_a_store_that_lacks_the_mark_lets_nothing_leave(database: Store, tmp_path: Path, copies: Copies) -> None:
    with recording_on(database, tmp_path) as recording:
        recording.accept()
    copies.keep()
    with recording_on(database, tmp_path) as recording:
        recording.accept(State.HELD)
        watched = Watched(recording).begin()
        guard = guarding(recording)
        guard.watch_connections(recording.engine)
        before = guard.suspect
        copies.put_back()  # cuts every connection: the next one is new
        recording.reader.read_now(state.read)
        assert (before, guard.suspect) == (False, True)
        asyncio.run(guard.tick())
        assert guard.suspect
        watched.tick()
        assert watched.phase.brake
        asyncio.run(guard.tick())
        assert guard.suspect
