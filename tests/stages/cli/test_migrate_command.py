"""`sluis store migrate`: from one store and spool into another, compared, resumed, and nothing leaves from both."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from relay.model.delivery import State
from relay.phases import change
from relay.phases import state as phase_state
from relay.store import high_water
from relay.store.engine import WriterLock, sqlite_path
from relay.store.high_water import FolderMarks
from relay.store.spool.folder_pack import PackFile
from relay.store.spool.format import BODY_START
from relay.store.states import balance
from tests.servers.database import sqlite_database
from tests.servers.recording import Recording, recording_on
from tests.stages.cli.machine import WORDS, Machine, bring_keys

TABLES = ("message", "delivery", "queue")


@pytest.fixture
def small(tmp_path: Path, policies: Path) -> Machine:
    """Where most begin: SQLite, and a folder."""
    database = sqlite_database(tmp_path / "small")
    database.upgrade()
    return Machine(tmp_path / "small", database, policies)


@pytest.fixture
def mail(small: Machine) -> Iterator[Recording]:
    """What is in it."""
    with recording_on(small.database.relay, small.folder) as recording:
        recording.accept(State.READY, State.HELD)
        recording.accept(State.QUARANTINED, content=b"Subject: large\r\n\r\n" + b"x" * 200_000)
        yield recording


@pytest.fixture
def target(small: Machine, new: Machine) -> Machine:
    """Of either kind, with its tables and the keys."""
    new.database.upgrade()
    return new


def words(target: Machine) -> tuple[str, ...]:
    return ("migrate", "--to", str(target.folder / "sluis.toml"), *WORDS)


def brake(machine: Machine) -> phase_state.PhaseState:
    with recording_on(machine.database.relay, machine.folder) as recording:
        return recording.reader.read_now(phase_state.read)


def test_everything_is_there_afterwards_and_the_old_store_lets_nothing_leave(small: Machine, mail: Recording, target: Machine) -> None:
    bring_keys(small, target)
    before = {table: mail.rows(table) for table in TABLES}
    said = small.said(*words(target))
    assert (said["bodies"], said["tables"]["message"]["rows"]) == (2, 2)
    with recording_on(target.database.relay, target.folder) as there:
        assert {table: there.rows(table) for table in TABLES} == before
        assert there.reader.read_now(balance).holds
        assert not there.reader.read_now(phase_state.read).brake
        told = json.loads(there.rows("event_record")[-1]["canonical"])
        assert (told["kind"], told["details"]["tables"]["message"]["rows"]) == ("migrated", 2)
        for claimed in there.claim():
            reader = there.spool.open(claimed.message.spool_object)
            assert sum(len(chunk) for chunk in reader.chunks()) == claimed.message.size
            reader.close()
        (mark,) = high_water.read_marks(FolderMarks(target.folder / "spool").read())
        assert mark.event == there.rows("event")[-1]["id"]
    assert "is being moved" in brake(small).brake_reason


def test_a_brake_that_was_on_is_on_afterwards_for_its_own_reason(small: Machine, mail: Recording, target: Machine) -> None:
    mail.write(lambda connection: change.pull_brake(connection, "anna", "a leak is looked into", 1))
    small.said(*words(target))
    found = brake(target)
    assert (found.brake, found.brake_reason) == (True, "a leak is looked into")


def test_what_was_interrupted_goes_on_where_it_was(small: Machine, mail: Recording, target: Machine) -> None:
    bring_keys(small, target)
    path = mail.spool.path(mail.rows("message")[1]["spool_object"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    result = small.run(*words(target))
    assert (result.exit_code, path.name in result.output) == (1, True)
    result = target.run("check")
    assert "its migration was interrupted" in result.output, "nothing uses a store that is half there"
    path.write_bytes(whole)
    assert small.said(*words(target))["bodies"] == 2
    assert len(brake(small).brake_reason.split("is being moved")) == 2, "the brake was pulled once"


def test_a_store_that_was_used_in_between_is_not_mixed_with_what_was_copied(small: Machine, mail: Recording, target: Machine) -> None:
    path = mail.spool.path(mail.rows("message")[1]["spool_object"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert small.run(*words(target)).exit_code == 1
    path.write_bytes(whole)
    mail.accept()
    result = small.run(*words(target))
    assert "the source was used since: empty the target first" in result.output


def test_a_finished_migration_is_not_done_again(small: Machine, mail: Recording, target: Machine) -> None:
    small.said(*words(target))
    result = small.run(*words(target))
    assert (result.exit_code, "not empty" in result.output) == (1, True)


def test_a_body_whose_copy_differs_stops_it(small: Machine, mail: Recording, target: Machine) -> None:
    body = mail.spool.path(mail.rows("message")[0]["spool_object"])
    there = target.folder / "spool" / body.parent.name / body.name
    there.parent.mkdir(parents=True)
    data = bytearray(body.read_bytes())
    data[BODY_START] ^= 1
    there.write_bytes(data)
    result = small.run(*words(target))
    assert (result.exit_code, "the copy is not the same" in result.output) == (1, True)


def test_with_the_key_here_a_body_that_the_record_does_not_mean_is_found(small: Machine, mail: Recording, target: Machine) -> None:
    """Its octets are the same on both sides, and were altered long before."""
    bring_keys(small, target)
    body = mail.spool.path(mail.rows("message")[0]["spool_object"])
    data = bytearray(body.read_bytes())
    data[BODY_START] ^= 1
    body.write_bytes(data)
    result = small.run(*words(target))
    assert (result.exit_code, "altered" in result.output) == (1, True)


def test_sealed_bodies_without_a_row_come_along_and_what_was_being_received_does_not(
    small: Machine, mail: Recording, target: Machine, tmp_path: Path
) -> None:
    mail.decided()
    sealed = mail.rows("message")[0]["spool_object"]
    orphan = mail.spool.path("019abc" + sealed[6:])
    orphan.parent.mkdir()
    shutil.copy(mail.spool.path(sealed), orphan)
    small.said(*words(target))
    assert len(list((target.folder / "spool").glob("??????/*"))) == 3


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_the_same_store_and_a_running_relay_are_refused(small: Machine, mail: Recording, target: Machine) -> None:
    assert "both settings name the same store" in small.run(*words(small)).output
    database = sqlite_path(small.database.relay)
    assert database is not None
    lock = WriterLock(database)
    lock.acquire()
    assert "the store is held by process" in small.run(*words(target)).output
    lock.release()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_way_back_is_the_same(old: Machine, filled: Recording, small: Machine) -> None:
    before = {table: filled.rows(table) for table in TABLES}
    old.said(*words(small))
    with recording_on(small.database.relay, small.folder) as there:
        assert {table: there.rows(table) for table in TABLES} == before


def test_bodies_of_a_pack_get_a_file_each_and_their_rows_say_so(small: Machine, mail: Recording, target: Machine) -> None:
    mail.accept_together(b"one", b"two", b"three")
    bring_keys(small, target)
    before = mail.rows("message")
    assert sum("/" in row["spool_object"] for row in before) == 3
    assert small.said(*words(target))["bodies"] == 5
    with recording_on(target.database.relay, target.folder) as there:
        assert there.rows("message") == [row | {"spool_object": row["id"].hex} for row in before]
        assert sorted(there.spool.names()) == sorted(row["id"].hex for row in before)
    assert target.run("check", "--bodies").exit_code == 0


@pytest.mark.parametrize("harm", ["altered", "cut short"])
def test_a_body_of_a_pack_that_is_not_whole_stops_the_migration(small: Machine, mail: Recording, target: Machine, harm: str) -> None:
    mail.accept_together(b"one", b"two", b"three")
    bring_keys(small, target)
    name = mail.rows("message")[-1]["spool_object"]
    path = mail.spool.path(name)
    with PackFile(path) as pack:
        at = pack.places[UUID(name.partition("/")[2])].offset + BODY_START
    data = bytearray(path.read_bytes())
    if harm == "altered":
        data[at] ^= 1
    else:
        del data[-1]
    path.write_bytes(data)
    result = small.run(*words(target))
    assert result.exit_code == 1
    assert name.partition("/")[2] in result.output
