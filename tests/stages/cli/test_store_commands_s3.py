"""`sluis store migrate`, `rebuild`, `check` and `backup` where bodies are in an object store."""

from contextlib import closing
from pathlib import Path

import pytest

from relay.model.delivery import State
from relay.settings.load import load_settings
from relay.settings.models import ObjectStore
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.spool import open_spool
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


def test_a_backup_of_bodies_in_a_bucket_is_left_to_who_can(grown: Machine, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for words in (("backup", str(tmp_path / "b")), ("restore", str(tmp_path / "b"))):
        result = grown.run(*words, *WORDS)
        assert (result.exit_code, "back up PostgreSQL with its own tools" in result.output) == (1, True)
