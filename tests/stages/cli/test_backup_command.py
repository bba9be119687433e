"""`sluis store backup` and `restore`: whole or not at all, into an empty store only, with the brake on afterwards."""

import json
import shutil
from pathlib import Path

import pytest

from relay.phases import state as phase_state
from relay.store import high_water
from relay.store.backup_files import newest_backup
from relay.store.engine import WriterLock, sqlite_path
from relay.store.high_water import FolderMarks
from relay.store.spool.format import BODY_START
from relay.store.spool.keys import new_keypair
from relay.store.states import balance
from tests.servers.recording import Recording, recording_on
from tests.stages.cli.machine import WORDS, Machine, bring_keys

TABLES = ("message", "delivery", "queue", "event", "event_record")


def test_a_backup_is_restored_on_a_new_machine_whole_and_with_the_brake_on(
    old: Machine, filled: Recording, new: Machine, tmp_path: Path
) -> None:
    made = old.said("backup", str(tmp_path / "backups"), *WORDS)
    assert (made["bodies"], made["missing"]) == (2, [])
    before = {table: filled.rows(table) for table in TABLES}
    bring_keys(old, new)
    said = new.said("restore", str(tmp_path / "backups"), *WORDS)
    assert (said["restored"], said["copied"], said["keys_missing"]) == (True, 2, [])
    with recording_on(new.database.relay, new.folder) as there:
        assert there.rows("message") == before["message"]
        assert there.rows("queue") == before["queue"]
        assert [row["id"] for row in there.rows("event")][: len(before["event"])] == [row["id"] for row in before["event"]]
        kinds = [row["kind"] for row in there.rows("event")[len(before["event"]) :]]
        assert kinds == ["restored", "brake"]
        waiting = {row["state"]: row["possible_duplicates"] for row in there.rows("delivery")}
        assert waiting == {"ready": 1, "held": 1, "quarantined": 1, "refused": 0}, "all that waited may have left since"
        found = there.reader.read_now(phase_state.read)
        assert found.brake
        assert "restored from the backup" in found.brake_reason
        assert there.reader.read_now(balance).holds
        for row in there.rows("message")[:2]:
            reader = there.spool.open(row["spool_object"])
            assert sum(len(chunk) for chunk in reader.chunks()) == row["size"]
            reader.close()
    files = FolderMarks(new.folder / "spool").read()
    (mark,) = high_water.read_marks(files)
    assert len(high_water.read_gaps(files, 0)) == 1
    with recording_on(new.database.relay, new.folder) as there:
        assert mark.event == there.rows("event")[-1]["id"]


def test_who_made_the_backup_is_in_the_audit_and_in_the_backup(old: Machine, filled: Recording, tmp_path: Path) -> None:
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    record = json.loads(filled.rows("event_record")[-1]["canonical"])
    assert (record["kind"], record["reason"]) == ("backup", "the nightly one")
    assert newest_backup(tmp_path / "backups").manifest.newest_event == filled.rows("event")[-1]["id"].hex


def test_a_backup_holds_no_key_and_no_body_that_can_be_read(old: Machine, filled: Recording, tmp_path: Path) -> None:
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    private = bytes.fromhex(next((old.folder / "keys" / "spool").glob("*.key")).read_text())
    files = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
    assert len(files) == 5
    for path in files:
        data = path.read_bytes()
        assert private not in data
        assert private.hex().encode() not in data
        assert b"Tekst" not in data
        assert path.stat().st_mode & 0o077 == 0


def test_a_second_backup_copies_only_what_is_new(old: Machine, filled: Recording, tmp_path: Path) -> None:
    target = tmp_path / "backups"
    first = old.said("backup", str(target), *WORDS)
    inodes = {path.name: path.stat().st_ino for path in (target / "objects").glob("*/*")}
    third = filled.accept()
    (target / first["backup"].rpartition("/")[2]).rename(target / "20260101T000000Z")
    second = old.said("backup", str(target), *WORDS)
    assert second["bodies"] == 3
    after = {path.name: path.stat().st_ino for path in (target / "objects").glob("*/*")}
    assert {name: after[name] for name in inodes} == inodes
    assert set(after) - set(inodes) == {third.decided.inspected.received.body.object}


def test_a_body_whose_key_was_wrapped_anew_is_copied_again_and_older_backups_still_hold(
    old: Machine, filled: Recording, new: Machine, tmp_path: Path
) -> None:
    target = tmp_path / "backups"
    first = Path(old.said("backup", str(target), *WORDS)["backup"]).rename(target / "20260101T000000Z")
    new_keypair(filled.settings.public_key, old.folder / "keys" / "spool")
    filled.spool.keys = filled.spool.read_keys()
    assert all(filled.spool.rewrap_one(name) for name in list(filled.spool.names())[:2])
    old.said("backup", str(target), *WORDS)
    bring_keys(old, new)
    assert new.said("restore", str(first), "--check", *WORDS)["keys_missing"] == []


def test_old_backups_are_pruned_with_the_bodies_that_nobody_names_any_more(old: Machine, filled: Recording, tmp_path: Path) -> None:
    target = tmp_path / "backups"
    Path(old.said("backup", str(target), *WORDS)["backup"]).rename(target / "20260101T000000Z")
    gone = filled.rows("message")[0]
    if old.database.dialect == "sqlite":
        filled.write(lambda c: c.exec_driver_sql("UPDATE message SET spool_object = NULL WHERE id = ?", (gone["id"].hex,)))
    else:
        filled.write(lambda c: c.exec_driver_sql("UPDATE message SET spool_object = NULL WHERE id = %s", (gone["id"],)))
    said = old.said("backup", str(target), "--keep", "1", *WORDS)
    assert (said["removed_backups"], said["removed_bodies"], said["bodies"]) == (1, 1, 1)
    assert not list((target / "objects").glob(f"*/{gone['spool_object']}"))


def test_a_body_that_is_missing_or_damaged_is_told_and_the_rest_is_backed_up(old: Machine, filled: Recording, tmp_path: Path) -> None:
    first, second = (filled.spool.path(row["spool_object"]) for row in filled.rows("message")[:2])
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    said = old.said("backup", str(tmp_path / "backups"), *WORDS, code=1)
    assert [first.name in said["missing"][0], second.name in said["missing"][1]] == [True, True]
    assert said["bodies"] == 0


@pytest.mark.parametrize("harm", ["store.db", "objects.txt", "body", "body gone", "manifest.json"])
def test_a_backup_that_was_altered_changes_nothing(old: Machine, filled: Recording, new: Machine, tmp_path: Path, harm: str) -> None:
    made = Path(old.said("backup", str(tmp_path / "backups"), *WORDS)["backup"])
    body = next((tmp_path / "backups" / "objects").glob("*/*"))
    path = body if harm.startswith("body") else made / harm
    if harm == "body gone":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[BODY_START + 20 if harm == "body" else len(data) // 2] ^= 1
        path.write_bytes(data)
    bring_keys(old, new)
    result = new.run("restore", str(tmp_path / "backups"), *WORDS)
    assert result.exit_code == 1
    assert path.name in result.output or "manifest" in result.output
    assert not (new.folder / "spool").exists()
    database = sqlite_path(new.database.relay)
    assert database is None or not database.exists()


def test_a_store_that_is_not_empty_is_left_alone(old: Machine, filled: Recording, new: Machine, tmp_path: Path) -> None:
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    result = old.run("restore", str(tmp_path / "backups"), *WORDS)
    assert result.exit_code == 1
    assert "the store is not empty (it has rows in " in result.output


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_relay_that_runs_is_not_restored_over(old: Machine, filled: Recording, tmp_path: Path) -> None:
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    database = sqlite_path(old.database.relay)
    assert database is not None
    lock = WriterLock(database)
    lock.acquire()
    result = old.run("restore", str(tmp_path / "backups"), *WORDS)
    lock.release()
    assert "the store is held by process" in result.output


def test_bodies_that_are_in_the_spool_already_stay(old: Machine, filled: Recording, new: Machine, tmp_path: Path) -> None:
    """The database was lost, the spool was not; or an earlier restore was interrupted."""
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    bring_keys(old, new)
    shutil.copytree(old.folder / "spool", new.folder / "spool")
    assert new.said("restore", str(tmp_path / "backups"), *WORDS)["copied"] == 0


def test_a_body_of_the_same_name_that_is_another_is_not_overwritten(old: Machine, filled: Recording, new: Machine, tmp_path: Path) -> None:
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    bring_keys(old, new)
    shutil.copytree(old.folder / "spool", new.folder / "spool")
    body = next((new.folder / "spool").glob("??????/*"))
    data = bytearray(body.read_bytes())
    data[BODY_START] ^= 1
    body.write_bytes(data)
    said = new.said("restore", str(tmp_path / "backups"), *WORDS, code=1)
    assert "another body of this name" in said["problems"][0]
    assert body.read_bytes() == data


def test_a_check_changes_nothing_and_names_the_keys_that_are_not_here(
    old: Machine, filled: Recording, new: Machine, tmp_path: Path
) -> None:
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    said = new.said("restore", str(tmp_path / "backups"), "--check", *WORDS)
    assert (said["restored"], said["copied"]) == (False, 2)
    assert len(said["keys_missing"]) == 1
    assert not (new.folder / "spool").exists()


def test_what_is_no_backup_is_told(old: Machine, filled: Recording, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    result = old.run("restore", str(tmp_path / "other"), *WORDS)
    assert (result.exit_code, "no backup here" in result.output) == (1, True)
    (tmp_path / "file").touch()
    assert old.run("backup", str(tmp_path / "file"), *WORDS).exit_code == 2


def test_bodies_of_a_pack_are_in_a_backup_each_by_itself_and_come_back_as_files(
    old: Machine, filled: Recording, new: Machine, tmp_path: Path
) -> None:
    filled.accept_together(b"one", b"two", b"three")
    before = [row for row in filled.rows("message") if row["spool_object"]]
    packed = [row for row in before if "/" in row["spool_object"]]
    assert len({row["spool_object"].partition("/")[0] for row in packed}) == 1
    made = old.said("backup", str(tmp_path / "backups"), *WORDS)
    assert (made["bodies"], made["missing"]) == (5, [])
    assert {path.name for path in (tmp_path / "backups" / "objects").glob("*/*")} == {row["id"].hex for row in before}
    again = old.said("backup", str(tmp_path / "more"), *WORDS)
    assert again["bodies"] == 5
    bring_keys(old, new)
    assert new.said("restore", str(tmp_path / "backups"), *WORDS)["copied"] == 5
    with recording_on(new.database.relay, new.folder) as there:
        assert {row["spool_object"] for row in there.rows("message") if row["spool_object"]} == {row["id"].hex for row in before}
    assert new.run("check", "--bodies").exit_code == 0


def test_a_restore_beside_a_spool_that_is_whole_leaves_bodies_in_their_packs(
    old: Machine, filled: Recording, new: Machine, tmp_path: Path
) -> None:
    filled.accept_together(b"one", b"two", b"three")
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    bring_keys(old, new)
    shutil.copytree(old.folder / "spool", new.folder / "spool")
    assert new.said("restore", str(tmp_path / "backups"), *WORDS)["copied"] == 0
    with recording_on(new.database.relay, new.folder) as there:
        assert there.rows("message") == filled.rows("message")
    assert new.run("check", "--bodies").exit_code == 0
