"""The high-water mark: a store that went back in time gets the brake, says why, and goes on only when a person has let go."""

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from relay.app.high_water_watch import HighWaterWatch
from relay.audit.event import EVENT
from relay.model.delivery import State
from relay.model.ids import new_id
from relay.model.ports import SystemClock
from relay.observe.alerts import Alerts
from relay.phases import change, state
from relay.settings.models import Store
from relay.store import high_water
from relay.store.high_water import FolderMarks, Mark
from tests.servers.copies import Copies
from tests.servers.recording import Recording, recording_on

MACHINE = "mx1.example.nl"
FILE = f"high-water-{MACHINE}.json"


class Watched:
    """A watch over a recording, as at the start of a relay."""

    def __init__(self, recording: Recording, machine: str = MACHINE) -> None:
        self.recording = recording
        self.folder = recording.settings.folder
        self.alerts = Alerts()
        clock = SystemClock()
        marks = FolderMarks(self.folder)
        self.watch = HighWaterWatch(marks, recording.journal, recording.reader, clock, self.alerts, machine, f"{machine}:1")

    def begin(self) -> "Watched":
        asyncio.run(self.watch.begin())
        return self

    def tick(self) -> None:
        asyncio.run(self.watch.tick())

    @property
    def phase(self) -> state.PhaseState:
        return self.recording.reader.read_now(state.read)

    @property
    def mark(self) -> Mark:
        (mark,) = high_water.read_marks(FolderMarks(self.folder).read())
        return mark

    def let_go(self) -> None:
        self.recording.write(partial(change.release_brake, actor="anna", reason="looked into", now_us=1))

    def brake_events(self) -> list[dict[str, Any]]:
        found = [json.loads(row["canonical"]) for row in self.recording.rows("event_record")]
        return [value for value in found if value["kind"] == "brake"]


def newest(recording: Recording) -> object:
    return recording.rows("event")[-1]["id"]


@pytest.fixture
def went_back(database: Store, copies: Copies, tmp_path: Path) -> Callable[[], None]:
    """One message is in a copy, another came after it; then the copy is put back."""

    def make() -> None:
        with recording_on(database, tmp_path) as recording:
            recording.accept()
        copies.keep()
        with recording_on(database, tmp_path) as recording:
            watched = Watched(recording).begin()
            recording.accept(State.HELD)
            watched.tick()
        copies.put_back()

    return make


def test_a_new_store_has_no_mark_and_nothing_is_said(recording: Recording) -> None:
    watched = Watched(recording).begin()
    assert not (watched.folder / FILE).exists()
    assert not watched.phase.brake
    assert not watched.alerts.counts
    assert recording.rows("event") == []


def test_the_mark_follows_the_commits_and_is_never_ahead_of_them(recording: Recording) -> None:
    watched = Watched(recording).begin()
    for _ in range(3):
        recording.accept()
        watched.tick()
        assert watched.mark.event == newest(recording)
    before = (watched.folder / FILE).stat().st_ino
    watched.tick()
    assert (watched.folder / FILE).stat().st_ino == before, "an idle relay writes no mark"
    assert not watched.phase.brake


def test_a_store_that_stands_at_its_mark_or_beyond_starts_as_ever(recording: Recording) -> None:
    recording.accept()
    Watched(recording).begin()
    recording.accept()
    watched = Watched(recording).begin()
    assert not watched.phase.brake
    assert watched.mark.event == newest(recording)


def test_a_store_that_was_restored_from_a_backup_starts_with_the_brake_on_and_says_why(
    went_back: Callable[[], None], database: Store, tmp_path: Path
) -> None:
    went_back()
    with recording_on(database, tmp_path) as recording:
        left = (tmp_path / "spool" / FILE).read_bytes()
        watched = Watched(recording).begin()
        assert watched.phase.brake
        assert "restored from a backup" in watched.phase.brake_reason
        assert watched.alerts.counts == {"store-behind": 1}
        (told,) = watched.brake_events()
        assert told["result"] == "on"
        assert told["reason"] == watched.phase.brake_reason
        recording.accept(State.HELD)
        watched.tick()
        assert (tmp_path / "spool" / FILE).read_bytes() == left, "the mark is evidence until a person has looked"


def test_the_next_start_finds_the_brake_on_and_pulls_it_no_second_time(
    went_back: Callable[[], None], database: Store, tmp_path: Path
) -> None:
    went_back()
    for _ in range(3):
        with recording_on(database, tmp_path) as recording:
            watched = Watched(recording).begin()
            assert watched.phase.brake
            assert len(watched.brake_events()) == 1


def test_after_a_person_has_let_go_the_mark_moves_on_and_the_gap_is_kept(
    went_back: Callable[[], None], database: Store, tmp_path: Path
) -> None:
    went_back()
    with recording_on(database, tmp_path) as recording:
        watched = Watched(recording).begin()
        watched.let_go()
        watched.tick()
        assert watched.mark.event == newest(recording)
        assert recording.rows("event")[-1]["kind"] == "high-water"
        lost = high_water.read_gaps(FolderMarks(tmp_path / "spool").read(), 0)
        assert len(lost) == 1
    with recording_on(database, tmp_path) as recording:
        assert not Watched(recording).begin().phase.brake


def test_a_brake_that_was_let_go_while_the_relay_was_down_counts(went_back: Callable[[], None], database: Store, tmp_path: Path) -> None:
    went_back()
    with recording_on(database, tmp_path) as recording:
        Watched(recording).begin().let_go()
    with recording_on(database, tmp_path) as recording:
        watched = Watched(recording).begin()
        assert not watched.phase.brake
        assert watched.mark.event == newest(recording)


def test_a_relay_that_was_stopped_while_it_went_on_says_so_at_the_next_start_and_once(
    went_back: Callable[[], None], database: Store, tmp_path: Path
) -> None:
    """The file of the gap is there already, the event is not; then both are, and the mark of the store that went back is as well."""
    went_back()
    files = FolderMarks(tmp_path / "spool")
    with recording_on(database, tmp_path) as recording:
        watched = Watched(recording).begin()
        watched.let_go()
        behind = high_water.read_behind(files.read())
        assert behind is not None
        before = files.read()
        gap = {**behind.to_json(), "from_us": behind.gap.from_us, "until_us": behind.gap.until_us}
        files.write(f"{high_water.GAP}{behind.found_us}.json", high_water.encoded(gap))
    for _ in range(2):
        with recording_on(database, tmp_path) as recording:
            Watched(recording).begin()
            assert [row["kind"] for row in recording.rows("event")].count("high-water") == 1
            assert not (tmp_path / "spool" / high_water.BEHIND).exists()
        for name in (FILE, high_water.BEHIND):
            files.write(name, before[name])


def test_the_same_backup_restored_once_more_pulls_the_brake_once_more(
    went_back: Callable[[], None], copies: Copies, database: Store, tmp_path: Path
) -> None:
    went_back()
    with recording_on(database, tmp_path) as recording:
        Watched(recording).begin().let_go()
    copies.put_back()
    with recording_on(database, tmp_path) as recording:
        watched = Watched(recording).begin()
        assert watched.phase.brake
        assert len(watched.brake_events()) == 1, "the restored store knows nothing of the first time"


def test_a_person_who_pulled_the_brake_for_something_else_is_not_forgotten(database: Store, copies: Copies, tmp_path: Path) -> None:
    with recording_on(database, tmp_path) as recording:
        recording.write(partial(change.pull_brake, actor="anna", reason="a leak is looked into", now_us=1))
    copies.keep()
    with recording_on(database, tmp_path) as recording:
        recording.accept()
        Watched(recording).begin()
    copies.put_back()
    with recording_on(database, tmp_path) as recording:
        reason = Watched(recording).begin().phase.brake_reason
        assert "restored from a backup" in reason
        assert reason.endswith("; and before that: a leak is looked into")


def test_a_store_that_is_made_anew_beside_the_spool_of_a_lost_one_starts_with_the_brake_on(recording: Recording, tmp_path: Path) -> None:
    lost = Mark(MACHINE, new_id())
    FolderMarks(recording.settings.folder).write(lost.name, high_water.encoded(lost.to_json()))
    watched = Watched(recording).begin()
    assert "the store has no events" in watched.phase.brake_reason
    assert lost.event.urn.removeprefix("urn:uuid:") in watched.phase.brake_reason


def test_the_mark_of_any_machine_counts(recording: Recording) -> None:
    recording.accept()
    Watched(recording).begin()
    other = Mark("mx2.example.nl", new_id())
    FolderMarks(recording.settings.folder).write(other.name, high_water.encoded(other.to_json()))
    assert Watched(recording).begin().phase.brake


def test_two_machines_that_find_the_same_pull_one_brake(went_back: Callable[[], None], database: Store, tmp_path: Path) -> None:
    went_back()
    with recording_on(database, tmp_path) as recording:
        first, second = (Watched(recording, machine).begin() for machine in (MACHINE, "mx2.example.nl"))
        assert len(second.brake_events()) == 1
        first.let_go()
        for watched in (first, second, first, second):
            watched.tick()
        assert not first.phase.brake
        assert [row["kind"] for row in recording.rows("event")].count("high-water") == 1


def test_a_store_that_goes_back_under_a_running_relay_gets_the_brake_at_the_next_look(recording: Recording) -> None:
    """Such as PostgreSQL that failed over to a standby which lagged."""
    watched = Watched(recording).begin()
    recording.accept()
    watched.watch._last = Mark(MACHINE, new_id())
    watched.tick()
    assert watched.phase.brake
    assert watched.alerts.counts == {"store-behind": 1}


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_new_connection_to_a_store_that_lacks_the_mark_lets_nothing_leave_until_it_was_looked_into(
    database: Store, tmp_path: Path, copies: Copies
) -> None:
    with recording_on(database, tmp_path) as recording:
        recording.accept()
    copies.keep()
    with recording_on(database, tmp_path) as recording:
        recording.accept()
        watched = Watched(recording).begin()
        watched.watch.watch_connections(recording.engine)
        before = watched.watch.suspect
        copies.put_back()  # cuts every connection: the next one is new
        recording.reader.read_now(state.read)
        assert (before, watched.watch.suspect) == (False, True)
        watched.tick()
        assert watched.phase.brake
        assert not watched.watch.suspect


def test_a_store_with_mail_and_without_a_mark_starts_and_says_so(recording: Recording) -> None:
    recording.accept()
    watched = Watched(recording).begin()
    assert not watched.phase.brake
    assert watched.alerts.counts == {"high-water-missing": 1}
    assert recording.rows("event")[-1]["kind"] == "high-water"
    assert Watched(recording).begin().alerts.counts == {}, "it is said once: now there is one"


def test_a_damaged_mark_is_a_missing_one(recording: Recording) -> None:
    recording.accept()
    (recording.settings.folder / FILE).write_bytes(b'{"machine": "mx1')
    watched = Watched(recording).begin()
    assert watched.alerts.counts == {"high-water-missing": 1}
    watched.tick()
    assert watched.mark.event == newest(recording)


def test_a_mark_that_can_not_be_written_is_an_alert_and_stops_nothing(recording: Recording) -> None:
    recording.accept()
    watched = Watched(recording)
    (watched.folder / FILE).mkdir()
    asyncio.run(watched.watch.tick())
    asyncio.run(watched.watch.tick())
    assert watched.alerts.counts == {"high-water-unwritable": 1}
    (watched.folder / FILE).rmdir()
    watched.tick()
    assert watched.mark.event == newest(recording)


def test_an_event_of_a_clock_that_ran_ahead_does_not_hide_what_comes_after(recording: Recording) -> None:
    future = Mark(MACHINE, type(new_id())(int=(SystemClock().now_us() // 1000 + 86_400_000 << 80) | 7 << 76 | 2 << 62))
    recording.write(lambda connection: connection.execute(insert(EVENT).values(id=future.event, kind="start", commitment=b"")))
    recording.accept()
    watched = Watched(recording).begin()
    assert watched.mark.event != future.event
    assert watched.mark.event in [row["id"] for row in recording.rows("event")]


def test_a_mark_of_long_ago_names_an_event_that_retention_may_have_dropped(recording: Recording) -> None:
    long_ago = SystemClock().now_us() - high_water.FORGOTTEN_US - high_water.DAY_US
    old = Mark("mx0.example.nl", type(new_id())(int=(long_ago // 1000 << 80) | 7 << 76 | 2 << 62))
    FolderMarks(recording.settings.folder).write(old.name, high_water.encoded(old.to_json()))
    recording.accept()
    watched = Watched(recording).begin()
    assert not watched.phase.brake
    assert not (watched.folder / old.name).exists()


def test_marks_are_no_bodies(recording: Recording) -> None:
    recording.accept()
    Watched(recording).begin()
    assert list(recording.spool.names()) == [recording.rows("message")[0]["spool_object"]]
    assert recording.spool.sweep(lambda names: set(names), 0) == 0
    assert (recording.settings.folder / FILE).exists()


def on(recording: Recording, watched: Watched, machine: str = MACHINE, **changes: Any) -> None:
    """The mark of this machine, as another server or timeline would have left it."""
    before = next(mark for mark in high_water.read_marks(FolderMarks(watched.folder).read()) if mark.machine == MACHINE)
    assert before.lineage is not None
    lineage = replace(before.lineage, **{name: value for name, value in changes.items() if name != "waits"})
    mark = Mark(machine, before.event, lineage, waits=changes.get("waits", False))
    FolderMarks(recording.settings.folder).write(mark.name, high_water.encoded(mark.to_json()))


ON_POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


@ON_POSTGRESQL
@pytest.mark.parametrize("changes", [{"timeline": 0}, {"timeline": 9}, {"system": "17"}, {"timeline": 9, "waits": True}])
def test_a_store_that_has_every_event_of_the_mark_and_is_on_another_timeline_or_system_starts_with_the_brake_on(
    recording: Recording, changes: dict[str, Any]
) -> None:
    """What came after the mark may be lost, however little. A timeline of before is no failover: the old server came back."""
    recording.accept()
    on(recording, Watched(recording).begin(), **changes)
    lost = new_id()
    watched = Watched(recording).begin()
    assert watched.phase.brake
    assert "says that commits went to timeline" in watched.phase.brake_reason
    assert watched.alerts.counts == {"store-behind": 1}
    assert any(gap.covers(lost) for gap in asyncio.run(watched.watch.gaps()))
    assert Watched(recording).begin().phase.brake, "at the next start too"
    watched.let_go()
    watched.tick()
    assert any(gap.covers(lost) for gap in asyncio.run(watched.watch.gaps())), "its bodies are spared for good"
    again = Watched(recording).begin()
    assert not again.phase.brake
    assert not again.alerts.counts


@ON_POSTGRESQL
def test_a_failover_to_a_standby_for_which_each_commit_waited_is_said_and_stops_nothing(recording: Recording) -> None:
    recording.accept()
    on(recording, Watched(recording).begin(), timeline=0, waits=True)
    body = new_id()
    watched = Watched(recording).begin()
    assert not watched.phase.brake
    assert watched.alerts.counts == {"store-switched": 1}
    told = json.loads(recording.rows("event_record")[-1]["canonical"])
    assert (told["kind"], told["result"]) == ("high-water", "switched")
    assert "from timeline 0 of system" in told["reason"]
    assert any(gap.covers(body) for gap in asyncio.run(watched.watch.gaps()))
    assert Watched(recording).begin().alerts.counts == {}, "it is said once"


@ON_POSTGRESQL
def test_a_failover_under_a_running_relay_lets_nothing_leave_until_it_was_looked_into(recording: Recording) -> None:
    recording.accept()
    watched = Watched(recording).begin()
    watched.watch.watch_connections(recording.engine)
    on(recording, watched, timeline=0)
    watched.watch._last = watched.mark
    with ExitStack() as connections:
        while not watched.watch.suspect:  # until one is new
            connections.enter_context(recording.engine.connect())
    watched.tick()
    assert (watched.phase.brake, watched.watch.suspect) == (True, False)


@ON_POSTGRESQL
def test_when_a_person_has_let_go_no_other_machine_finds_the_same_again(recording: Recording) -> None:
    recording.accept()
    first = Watched(recording).begin()
    for machine in ("mx2.example.nl", MACHINE):
        on(recording, first, machine, timeline=0)
    first = Watched(recording).begin()
    first.let_go()
    first.tick()
    assert not Watched(recording, "mx2.example.nl").begin().phase.brake


def test_a_mark_of_before_there_were_timelines_says_nothing_of_them(recording: Recording) -> None:
    recording.accept()
    watched = Watched(recording).begin()
    old = Mark(MACHINE, watched.mark.event)
    FolderMarks(recording.settings.folder).write(old.name, high_water.encoded(old.to_json()))
    assert not Watched(recording).begin().phase.brake
    assert high_water.read_marks({old.name: b'{"machine": "mx1.example.nl", "event": "%s"}' % old.event.hex.encode()}) == [old]


@ON_POSTGRESQL
def test_a_command_that_has_filled_and_compared_a_store_makes_the_marks_its_own(recording: Recording) -> None:
    recording.accept()
    on(recording, Watched(recording).begin(), system="17")
    with recording.engine.connect() as connection:
        high_water.mark_first(FolderMarks(recording.settings.folder), connection, MACHINE, SystemClock().now_us())
    assert not Watched(recording).begin().phase.brake
