"""`sluis store migrate`, `rebuild`, `check` and `backup` where bodies are in an object store."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relay.model.delivery import State
from relay.settings.load import load_settings
from relay.settings.models import ObjectStore
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.bodies import bodies_of
from relay.store.spool.open import open_spool
from tests.servers.object_spool import kept_in
from tests.servers.postgres import Cluster
from tests.servers.recording import Recording, recording_on
from tests.servers.s3 import Ceph
from tests.stages.cli.machine import WORDS, Machine, bring_keys
from tests.stages.cli.test_rebuild_command import same

CONTENT = b"Subject: large\r\n\r\n" + b"x" * 6_000_000


@pytest.fixture
def dialect() -> str:
    return "postgresql"


@pytest.fixture
def grown(old: Machine, filled: Recording, new: Machine, bucket: ObjectStore) -> Machine:
    """The mail of the old machine, moved to a new PostgreSQL and the bucket."""
    filled.accept(State.HELD, content=CONTENT)
    bring_keys(old, new)
    new.keep_bodies_in(bucket)
    assert old.said("migrate", "--to", str(new.folder / "sluis.toml"), *WORDS)["bodies"] == 3
    return new


def test_bodies_move_into_an_object_store_under_their_names_and_can_be_read_there(filled: Recording, grown: Machine) -> None:
    before = filled.rows("message")
    with recording_on(grown.database.relay, grown.folder) as there:
        assert there.rows("message") == before
    with closing(open_spool(load_settings(grown.folder / "sluis.toml").spool, RelaxedBodyHash)) as spool:
        names = [row["spool_object"] for row in before if row["spool_object"]]
        assert sorted(spool.names()) == sorted(names)
        assert CONTENT in [kept_in(spool, name) for name in names]
    checked = grown.run("check", "--bodies")
    assert checked.exit_code == 0, checked.output


def test_a_migration_that_was_interrupted_goes_on_and_a_body_that_differs_stops_it(
    old: Machine, filled: Recording, new: Machine, bucket: ObjectStore, ceph: Ceph
) -> None:
    bring_keys(old, new)
    new.keep_bodies_in(bucket)
    words = ("migrate", "--to", str(new.folder / "sluis.toml"), *WORDS)
    path = filled.spool.path(filled.rows("message")[1]["spool_object"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert old.run(*words).exit_code == 1
    path.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    result = old.run(*words)
    assert (result.exit_code, "altered" in result.output) == (1, True)
    path.write_bytes(whole)
    result = old.run(*words)
    assert (result.exit_code, "the copy is not the same" in result.output) == (1, True)
    client = ceph.client(bucket.bucket)
    client.delete([f"{bucket.prefix}/packs/{path.name}.{end}" for end in ("body", "keys")])
    assert old.said(*words)["bodies"] == 2


def test_a_lost_database_is_rebuilt_from_the_bucket(
    filled: Recording, grown: Machine, cluster: Cluster, tmp_path: Path, policies: Path, bucket: ObjectStore
) -> None:
    database = cluster.new_database(migrated=True)
    try:
        machine = Machine(tmp_path / "rebuilt", database, policies)
        bring_keys(grown, machine)
        machine.keep_bodies_in(bucket)
        said = machine.said("rebuild", *WORDS)
        assert (said["rebuilt"], said["problems"], said["unsealed"]) == (3, [], [])
        with recording_on(database.relay, machine.folder) as there:
            wanted = [same(row) for row in filled.rows("message") if row["spool_object"]]
            assert [same(row) for row in there.rows("message")] == wanted
        assert machine.said("rebuild", *WORDS)["known"] == 3
    finally:
        cluster.drop(database)


@pytest.fixture
def packed(grown: Machine) -> list[dict[str, Any]]:
    """Rows of the new machine, after it has taken more mail: bodies in packs that several share."""

    async def take(there: Recording) -> None:
        content = b"Subject: %d\r\n\r\nTekst\r\n"
        works = [there.record.accept(there.decided([State.HELD], content % number), [State.HELD]) for number in range(8)]
        await asyncio.gather(*works)

    with recording_on(grown.database.relay, grown.folder) as there:
        with closing(open_spool(load_settings(grown.folder / "sluis.toml").spool, RelaxedBodyHash)) as spool:
            there.record_with(spool)
            asyncio.run(take(there))
        rows = there.rows("message")
    assert any("/" in (row["spool_object"] or "") for row in rows)
    return rows


def files_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (folder / "objects").glob("*/*")}


def test_a_backup_holds_the_bodies_of_the_bucket_and_copies_each_once(grown: Machine, packed: list[dict[str, Any]], tmp_path: Path) -> None:
    target = tmp_path / "backups"
    first = grown.said("backup", str(target), *WORDS)
    assert (first["bodies"], first["missing"], first["erased"]) == (11, [], 0)
    files = files_in(target)
    assert set(files) == {row["id"].hex for row in packed if row["spool_object"]}
    Path(first["backup"]).rename(target / "20260101T000000Z")
    assert grown.said("backup", str(target), *WORDS)["bodies"] == 11
    assert files_in(target) == files


@pytest.mark.parametrize("place", ["the same bucket", "another bucket", "a folder"])
def test_it_is_restored_where_the_bodies_are_and_where_they_are_not(
    grown: Machine,
    packed: list[dict[str, Any]],
    cluster: Cluster,
    tmp_path: Path,
    policies: Path,
    ceph: Ceph,
    bucket: ObjectStore,
    place: str,
) -> None:
    grown.said("backup", str(tmp_path / "backups"), *WORDS)
    database = cluster.new_database(migrated=True)
    try:
        machine = Machine(tmp_path / "restored", database, policies)
        bring_keys(grown, machine)
        if place != "a folder":
            machine.keep_bodies_in(bucket if place == "the same bucket" else ceph.new_bucket(tmp_path / "s3-other"))
        copied = 0 if place == "the same bucket" else 11
        said = machine.said("restore", str(tmp_path / "backups"), "--check", *WORDS)
        assert (said["restored"], said["copied"], said["keys_missing"]) == (False, copied, [])
        assert machine.said("restore", str(tmp_path / "backups"), *WORDS)["copied"] == copied
        with recording_on(database.relay, machine.folder) as there:
            named = [row["spool_object"] for row in there.rows("message") if row["spool_object"]]
        before = [row["spool_object"] for row in packed if row["spool_object"]]
        assert named == (before if place == "the same bucket" else [name.rpartition("/")[2] for name in before])
        checked = machine.run("check", "--bodies")
        assert checked.exit_code == 0, checked.output
        assert machine.said("rebuild", *WORDS)["rebuilt"] == 0
    finally:
        cluster.drop(database)


@pytest.mark.parametrize("harm", ["altered", "gone", "another in the bucket"])
def test_a_backup_that_is_not_whole_puts_nothing_into_the_bucket(
    grown: Machine, packed: list[dict[str, Any]], cluster: Cluster, tmp_path: Path, policies: Path, ceph: Ceph, harm: str
) -> None:
    grown.said("backup", str(tmp_path / "backups"), *WORDS)
    body = next((tmp_path / "backups" / "objects").glob("*/*"))
    database = cluster.new_database(migrated=True)
    bucket = ceph.new_bucket(tmp_path / "s3-other")
    try:
        machine = Machine(tmp_path / "restored", database, policies)
        bring_keys(grown, machine)
        machine.keep_bodies_in(bucket)
        data = body.read_bytes()
        altered = data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
        if harm == "another in the bucket":
            body.write_bytes(altered)
            with body.open("rb") as file:
                bodies_of(load_settings(machine.folder / "sluis.toml").spool).put(body.name, file)
            body.write_bytes(data)
        elif harm == "altered":
            body.write_bytes(altered)
        else:
            body.unlink()
        before = everything_in(ceph, bucket)
        said = machine.said("restore", str(tmp_path / "backups"), *WORDS, code=1)
        assert (said["restored"], said["wrong"], body.name in said["problems"][0]) == (False, 1, True)
        assert everything_in(ceph, bucket) == before
        with recording_on(database.relay, machine.folder) as there:
            assert there.rows("message") == []
    finally:
        cluster.drop(database)


def everything_in(ceph: Ceph, bucket: ObjectStore) -> list[str]:
    return sorted(found["path"] for page in ceph.client(bucket.bucket).list() for found in page)


def test_a_body_that_is_gone_from_the_bucket_is_told_and_an_object_store_that_is_away_ends_the_backup(
    grown: Machine, packed: list[dict[str, Any]], tmp_path: Path, ceph: Ceph, bucket: ObjectStore
) -> None:
    target = tmp_path / "backups"
    ceph.stop()
    try:
        result = grown.run("backup", str(target), *WORDS)
        assert (result.exit_code, list(target.glob("*/manifest.json"))) == (1, [])
    finally:
        ceph.start()
    gone = next(row["spool_object"] for row in packed if row["spool_object"] and "/" not in row["spool_object"])
    ceph.client(bucket.bucket).delete([f"{bucket.prefix}/packs/{gone}.body"])
    said = grown.said("backup", str(target), *WORDS, code=1)
    assert (said["bodies"], len(said["missing"]), gone in said["missing"][0]) == (10, 1, True)
