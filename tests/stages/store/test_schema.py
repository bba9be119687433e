"""The version of the tables: made, migrated, and refused where it does not fit this program."""

import datetime
import os
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, inspect, text
from sqlmodel import SQLModel

from relay.model.errors import StoreError
from relay.model.ids import new_id
from relay.settings.models import Store
from relay.store import schema
from relay.store.engine import WriterLock, check_durability, open_engine, sqlite_path
from tests.servers.database import Database
from tests.servers.postgres import RELAY, Cluster
from tests.servers.recording import Recording


def run(engine: Engine, *statements: str) -> None:
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def check(database: Database) -> None:
    engine = database.engine()
    try:
        schema.check_schema(engine)
    finally:
        engine.dispose()


def test_an_empty_store_is_refused_and_says_what_to_do(empty_database: Database) -> None:
    with pytest.raises(StoreError, match=r"is empty.*sluis store upgrade"):
        check(empty_database)


def test_upgrade_makes_a_store_that_is_accepted_and_a_second_one_changes_nothing(empty_database: Database) -> None:
    assert empty_database.upgrade() == (None, schema.newest())
    check(empty_database)
    assert empty_database.upgrade() == (schema.newest(), schema.newest())
    check(empty_database)


def test_the_migrations_make_the_tables_that_the_models_describe(new_database: Database) -> None:
    engine = new_database.owner_engine()
    found = inspect(engine)
    for name, table in SQLModel.metadata.tables.items():
        columns = {column["name"]: column for column in found.get_columns(name)}
        assert columns.keys() == set(table.columns.keys()), name
        assert {key: column["nullable"] for key, column in columns.items()} == {c.name: c.nullable for c in table.columns}, name
        assert set(found.get_pk_constraint(name)["constrained_columns"]) == {column.name for column in table.primary_key}, name
        # PostgreSQL names the primary key's index among the indexes of a partitioned table in some versions.
        indexes = {index["name"] for index in found.get_indexes(name)}
        assert {index.name for index in table.indexes} <= indexes, name
    engine.dispose()


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_an_older_or_newer_schema_is_refused(new_database: Database, revision: str) -> None:
    run(new_database.owner_engine(), f"UPDATE alembic_version SET version_num = '{revision}'")
    with pytest.raises(StoreError, match=f"has schema {revision}, this program needs {schema.newest()}"):
        check(new_database)


def test_an_upgrade_from_a_newer_schema_is_refused_and_changes_nothing(new_database: Database) -> None:
    run(new_database.owner_engine(), "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="9999"):
        new_database.upgrade()
    with pytest.raises(StoreError, match="has schema 9999"):
        check(new_database)


def test_a_store_that_can_not_be_reached_is_one_clear_error(tmp_path: Path, dialect: str) -> None:
    (tmp_path / "sluis.db").mkdir()
    url = f"sqlite:///{tmp_path}/sluis.db" if dialect == "sqlite" else f"postgresql+psycopg://relay@/sluis?host={tmp_path}"
    engine = open_engine(Store(url=url))
    with pytest.raises(StoreError, match="can't be opened"):
        schema.check_schema(engine)


@pytest.mark.parametrize(
    "url", ["mysql://localhost/sluis", "postgresql+psycopg2://relay@/sluis", "postgresql+psycopg://relay:secret@localhost/sluis"]
)
def test_other_databases_drivers_and_passwords_in_the_url_are_refused(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        open_engine(Store(url=url))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_the_sqlite_file_is_closed_to_others(empty_database: Database) -> None:
    empty_database.upgrade()
    path = sqlite_path(empty_database.relay)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def months(engine: Engine, table: str) -> set[str]:
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT relid::regclass::text AS name FROM pg_partition_tree('{table}') WHERE isleaf"))
        return {row.name.removeprefix(f"{table}_") for row in rows}


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", sorted(schema.PARTITIONED))
def test_the_large_tables_have_a_partition_for_each_month_of_two_years(new_database: Database, table: str) -> None:
    engine = new_database.owner_engine()
    found = months(engine, table)
    engine.dispose()
    now = datetime.datetime.now(datetime.UTC)
    assert {f"{now:%Y_%m}", f"{now.year + 1}_{now.month:02d}", "default"} <= found
    assert len(found) == schema.MONTHS_AHEAD + 1


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_rows_lie_in_the_partition_of_their_month_and_in_the_default_one_beyond(recording: Recording) -> None:
    recorded = recording.accept()
    late = uuid.UUID(int=new_id().int + ((10 * 365 * 86_400_000) << 80))
    with recording.engine.begin() as connection:
        connection.execute(text("INSERT INTO event VALUES (:id, 'test', '')"), {"id": late})
        rows = {
            row.id: row.place
            for table in ("event", "message")
            for row in connection.execute(text(f"SELECT id, tableoid::regclass::text AS place FROM {table}"))
        }
    now = datetime.datetime.now(datetime.UTC)
    assert rows[recorded.decided.inspected.received.id] == f"message_{now:%Y_%m}"
    assert rows[late] == "event_default"


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_an_upgrade_after_years_without_one_leaves_late_rows_where_they_are(new_database: Database, recording: Recording) -> None:
    """The partitions ran out, so that this month's rows went into the default one: no upgrade may fail on that."""
    now = datetime.datetime.now(datetime.UTC)
    month = f"{now:%Y_%m}"
    run(new_database.owner_engine(), *(f"DROP TABLE {table}_{month}" for table in schema.PARTITIONED))
    recording.accept()
    new_database.upgrade()
    engine = new_database.owner_engine()
    assert month not in months(engine, "event")
    engine.dispose()
    check(new_database)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_relay_s_role_owns_nothing_and_makes_nothing(new_database: Database) -> None:
    engine = new_database.engine()
    with engine.connect() as connection:
        owned = connection.execute(
            text("SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = current_user")
        )
        assert owned.scalar() == 0
    for statement in ("CREATE TABLE mine (a int)", "ALTER TABLE message ADD COLUMN extra int", "DROP TABLE queue", "DELETE FROM message"):
        with pytest.raises(Exception, match=r"permission denied|must be owner"):
            run(engine, statement)


def test_a_durable_store_is_accepted(engine: Engine) -> None:
    check_durability(engine)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("pragma", ["synchronous=OFF", "synchronous=NORMAL", "recursive_triggers=OFF"])
def test_a_sqlite_that_does_not_sync_its_commits_is_refused(engine: Engine, pragma: str) -> None:
    event.listen(engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {pragma}").close())
    with pytest.raises(StoreError, match="does not sync"):
        check_durability(engine)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_postgresql_that_says_committed_too_early_is_refused(new_database: Database, cluster: Cluster) -> None:
    name = new_database.relay.url.partition("?")[0].rpartition("/")[2]
    cluster.execute(f"ALTER ROLE {RELAY} IN DATABASE {name} SET synchronous_commit = off")
    engine = new_database.engine()
    with pytest.raises(StoreError, match="synchronous_commit = off"):
        check_durability(engine)
    engine.dispose()


def test_a_second_writer_is_refused_and_hears_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "sluis.db"
    first, second = WriterLock(path), WriterLock(path)
    first.acquire()
    with pytest.raises(StoreError, match=f"held by process {os.getpid()}"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_the_writer_lock_goes_with_its_process(tmp_path: Path) -> None:
    program = f"""
import os, pathlib
from relay.store.engine import WriterLock
WriterLock(pathlib.Path({str(tmp_path / "sluis.db")!r})).acquire()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    lock = WriterLock(tmp_path / "sluis.db")
    lock.acquire()
    lock.release()


def test_the_names_of_the_migrations_are_their_revisions_one_after_the_other() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(schema._config())
    assert [script.revision for script in reversed(list(scripts.walk_revisions()))] == schema._revisions()
    assert scripts.get_current_head() == schema.newest()
