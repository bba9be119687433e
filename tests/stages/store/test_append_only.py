"""Events are append-only, and their records can be erased and nothing else: whatever statement is tried, on both databases."""

import uuid

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Engine, String, text
from sqlalchemy.exc import DBAPIError

from relay.audit.event import NewEvent, erase, make_event, write
from relay.model.errors import StoreError
from relay.store import schema, triggers
from tests.servers.database import Database


@pytest.fixture
def event(engine: Engine) -> NewEvent:
    """One event in the store."""
    made = make_event(
        "start", object_="it", result="done", origin="test", actor="somebody", time_us=1, reason="why", message_id=uuid.uuid4()
    )
    with engine.begin() as connection:
        write(connection, [made])
    return made


def stored(engine: Engine) -> list[tuple[str, bytes, bytes, bytes]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT e.kind, e.commitment, r.canonical, r.salt FROM event e JOIN event_record r ON r.event_id = e.id")
        )
        return [(row.kind, bytes(row.commitment), bytes(row.canonical), bytes(row.salt)) for row in rows]


def assert_untouched(engine: Engine, event: NewEvent) -> None:
    assert stored(engine) == [("start", event.commitment, event.canonical, event.salt)]


def refused(engine: Engine, statement: str, event: NewEvent) -> str:
    """Runs a statement that must fail; gives the database's word."""
    identity = event.id.hex if engine.dialect.name == "sqlite" else str(event.id)
    with pytest.raises(DBAPIError) as error, engine.begin() as connection:
        connection.execute(text(statement.replace(":id", f"'{identity}'")))
    assert_untouched(engine, event)
    return str(error.value)


CHANGES = [
    "UPDATE event SET kind = 'other'",
    "UPDATE event SET kind = 'other' WHERE id = :id",
    "UPDATE event SET id = :id",
    "DELETE FROM event",
    "DELETE FROM event WHERE id = :id",
    "DELETE FROM event_record",
    "DELETE FROM event_record WHERE event_id = :id",
    "UPDATE event_record SET message_id = NULL",
    "INSERT INTO event VALUES (:id, 'other', '') ON CONFLICT (id) DO UPDATE SET kind = 'other'",
    "INSERT INTO event_record (event_id, canonical, salt) VALUES (:id, 'x', 'y') ON CONFLICT (event_id) DO UPDATE SET salt = 'y'",
]
SQLITE_CHANGES = [
    "REPLACE INTO event VALUES (:id, 'other', 'x')",
    "INSERT OR REPLACE INTO event VALUES (:id, 'other', 'x')",
    "INSERT OR REPLACE INTO event_record (event_id, canonical, salt) VALUES (:id, 'x', 'y')",
    "UPDATE OR REPLACE event SET kind = 'other'",
    "UPDATE event_record SET canonical = 'forged'",
    "UPDATE event_record SET canonical = ''",
    "UPDATE event_record SET canonical = x'', salt = x'', message_id = NULL",
]
POSTGRESQL_CHANGES = [
    "TRUNCATE event",
    "TRUNCATE event_record CASCADE",
    "UPDATE event_record SET canonical = 'forged'",
    "UPDATE event_record SET canonical = ''",
    "MERGE INTO event USING (SELECT 1) AS one ON TRUE WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM event RETURNING 1) SELECT * FROM gone",
]
RELAY_MAY_NOT = [
    "DROP TABLE event",
    "DROP TRIGGER event_no_update ON event",
    "ALTER TABLE event DISABLE TRIGGER ALL",
    "ALTER TABLE event DETACH PARTITION event_default",
    "DROP TABLE event_default",
    "DELETE FROM event_default",
    "UPDATE event_default SET kind = 'other'",
    "TRUNCATE event_default",
    "CREATE OR REPLACE FUNCTION sluis_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "SET session_replication_role = replica",
]


def test_an_event_can_be_neither_changed_nor_removed(engine: Engine, event: NewEvent) -> None:
    for statement in CHANGES:
        refused(engine, statement, event)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_sqlite_s_own_ways_to_replace_are_refused(engine: Engine, event: NewEvent) -> None:
    for statement in SQLITE_CHANGES:
        word = refused(engine, statement, event)
        assert "append-only" in word or "only be erased" in word, statement


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_postgresql_s_own_ways_to_change_are_refused(engine: Engine, event: NewEvent) -> None:
    for statement in POSTGRESQL_CHANGES:
        refused(engine, statement, event)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_relay_can_not_take_the_triggers_or_tables_away(engine: Engine, event: NewEvent) -> None:
    for statement in RELAY_MAY_NOT:
        word = refused(engine, statement, event)
        assert "must be owner" in word or "permission denied" in word, statement


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_owner_meets_the_triggers_too_in_the_table_and_in_its_partition(new_database: Database, event: NewEvent) -> None:
    owner = new_database.owner_engine()
    with owner.connect() as connection:
        partition = connection.execute(text("SELECT tableoid::regclass::text FROM event")).scalar()
    for statement in [*CHANGES, *POSTGRESQL_CHANGES, f"DELETE FROM {partition}", f"UPDATE {partition} SET kind = 'other'"]:
        word = refused(owner, statement, event)
        assert "append-only" in word or "only be erased" in word, statement
    owner.dispose()


@pytest.mark.parametrize("table", ["event", "event_record"])
def test_a_batch_migration_that_copies_the_table_is_noticed(new_database: Database, engine: Engine, event: NewEvent, table: str) -> None:
    """On SQLite a batch migration makes a new table and drops the old one, and its triggers go with it (Alembic documentation, batch)."""
    owner = new_database.owner_engine()
    try:
        with owner.begin() as connection:
            operations = Operations(MigrationContext.configure(connection))
            with operations.batch_alter_table(table, recreate="always" if owner.dialect.name == "sqlite" else "never") as batch:
                batch.add_column(Column("extra", String, nullable=True))
        if owner.dialect.name == "sqlite":
            with pytest.raises(StoreError, match=f"{table}_no_update.*missing"):
                schema.check_schema(engine)
        else:
            schema.check_schema(engine)
    finally:
        owner.dispose()


def test_a_record_can_be_erased_and_the_commitment_stays(engine: Engine, owner: Engine, event: NewEvent) -> None:
    with owner.begin() as connection:
        assert erase(connection, [event.id]) == 1
    assert stored(engine) == [("start", event.commitment, b"", b"")]


def test_what_is_erased_can_not_be_written_again(engine: Engine, owner: Engine, event: NewEvent) -> None:
    with owner.begin() as connection:
        erase(connection, [event.id])
    with pytest.raises(DBAPIError), owner.begin() as connection:
        connection.execute(text("UPDATE event_record SET canonical = 'forged', salt = 'forged'"))
    assert stored(engine) == [("start", event.commitment, b"", b"")]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_relay_itself_may_not_erase_on_postgresql(engine: Engine, event: NewEvent) -> None:
    with pytest.raises(DBAPIError, match="permission denied"), engine.begin() as connection:
        erase(connection, [event.id])
    assert stored(engine)[0][2] != b""


TAMPERING = {
    "dropped": "DROP TRIGGER event_no_update ON event",
    "disabled": "ALTER TABLE event DISABLE TRIGGER event_no_delete",
    "disabled for the table": "ALTER TABLE event_record DISABLE TRIGGER ALL",
    "dropped, of TRUNCATE": "DROP TRIGGER event_record_no_truncate ON event_record",
    "disabled on one partition": "ALTER TABLE event_default DISABLE TRIGGER event_no_delete",
    "emptied": "CREATE OR REPLACE FUNCTION sluis_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "limited": "CREATE OR REPLACE TRIGGER event_no_update BEFORE UPDATE OF kind ON event FOR EACH ROW EXECUTE FUNCTION sluis_append_only()",
    "only for replicas": "ALTER TABLE event ENABLE REPLICA TRIGGER event_no_update",
}


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize("statement", TAMPERING.values(), ids=TAMPERING.keys())
def test_a_relay_does_not_start_on_triggers_that_are_not_as_they_were_made(new_database: Database, engine: Engine, statement: str) -> None:
    schema.check_schema(engine)
    owner = new_database.owner_engine()
    with owner.begin() as connection:
        connection.execute(text(statement))
    owner.dispose()
    with pytest.raises(StoreError, match="missing or changed"):
        schema.check_schema(engine)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", sorted(triggers._SQLITE))
def test_a_relay_does_not_start_without_each_of_its_triggers(engine: Engine, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"DROP TRIGGER {name}"))
    with pytest.raises(StoreError, match=f"{name} are missing or changed"):
        schema.check_schema(engine)
    table = "event_record" if name.startswith("event_record") else "event"
    with engine.begin() as connection:
        change = "UPDATE" if name.endswith("update") else "DELETE"
        connection.execute(text(f"CREATE TRIGGER {name} BEFORE {change} ON {table} WHEN 0 BEGIN SELECT RAISE(ABORT, ''); END"))
    with pytest.raises(StoreError, match=f"{name} are missing or changed"):
        schema.check_schema(engine)
