"""The triggers that make `event` append-only, and keep `event_record` from being changed; erasing goes through one function.

SQLite: REPLACE and upsert delete or update the old row; with recursive_triggers ON their triggers fire too (SQLite documentation, PRAGMA
recursive_triggers). SQLite has no TRUNCATE; its DELETE without WHERE fires row triggers where there are any.
PostgreSQL: the relay's role owns none of these tables, so that it can neither TRUNCATE nor drop a trigger or a partition.
"""

from sqlalchemy import Connection, text

from relay.model.errors import StoreError

# An erased record has an empty canonical form and salt: the row stays, so that it is seen that there was one.
_SQLITE = {
    "event_no_update": "CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'event is append-only'); END",
    "event_no_delete": "CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'event is append-only'); END",
    "event_record_no_update": "CREATE TRIGGER event_record_no_update BEFORE UPDATE ON event_record "
    "WHEN NOT (NEW.event_id = OLD.event_id AND NEW.message_id IS OLD.message_id AND length(NEW.canonical) = 0 AND length(NEW.salt) = 0) "
    "BEGIN SELECT RAISE(ABORT, 'event_record can only be erased'); END",
    "event_record_no_delete": "CREATE TRIGGER event_record_no_delete BEFORE DELETE ON event_record "
    "BEGIN SELECT RAISE(ABORT, 'event_record can only be erased'); END",
}

_FUNCTIONS = {
    "sluis_append_only": """
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END """,
    "sluis_erase_only": """
    BEGIN
        IF NEW.event_id = OLD.event_id AND NEW.message_id IS NOT DISTINCT FROM OLD.message_id
            AND length(NEW.canonical) = 0 AND length(NEW.salt) = 0 THEN RETURN NEW; END IF;
        RAISE EXCEPTION 'event_record can only be erased';
    END """,
}
_POSTGRESQL = {
    name: f"CREATE TRIGGER {name} BEFORE {change} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()"
    for name, change, table, each, function in (
        ("event_no_update", "UPDATE", "event", "ROW", "sluis_append_only"),
        ("event_no_delete", "DELETE", "event", "ROW", "sluis_append_only"),
        ("event_no_truncate", "TRUNCATE", "event", "STATEMENT", "sluis_append_only"),
        ("event_record_no_update", "UPDATE", "event_record", "ROW", "sluis_erase_only"),
        ("event_record_no_delete", "DELETE", "event_record", "ROW", "sluis_append_only"),
        ("event_record_no_truncate", "TRUNCATE", "event_record", "STATEMENT", "sluis_append_only"),
    )
}

# Partitions carry copies of the row triggers under the same names, each of which could be disabled by itself.
_FIND = text(
    """SELECT tree.relid::regclass::text AS relation, tree.level = 0 AS whole, t.tgname AS name,
        pg_get_triggerdef(t.oid, true) AS definition
    FROM pg_partition_tree(:table) AS tree LEFT JOIN pg_trigger t ON t.tgrelid = tree.relid AND t.tgenabled IN ('O', 'A')"""
)


def create(connection: Connection) -> None:
    """Makes them all; part of a migration."""
    if connection.dialect.name == "sqlite":
        statements = list(_SQLITE.values())
    else:
        functions = [f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$" for name, body in _FUNCTIONS.items()]
        statements = [*functions, *_POSTGRESQL.values()]
    for statement in statements:
        connection.execute(text(statement))


def create_on(connection: Connection, table: str) -> None:
    """Makes those of one table of SQLite, for a migration that makes the table anew."""
    for statement in _SQLITE.values():
        if f" ON {table} " in statement:
            connection.execute(text(statement))


def check(connection: Connection) -> None:
    """Raises StoreError where one is missing, disabled or not as it was made."""
    wrong = _wrong_on_sqlite(connection) if connection.dialect.name == "sqlite" else _wrong_on_postgresql(connection)
    if wrong:
        raise StoreError(f"the append-only triggers {', '.join(wrong)} are missing or changed: events could be altered unseen")


def _wrong_on_sqlite(connection: Connection) -> list[str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    found = {row.name: row.sql for row in rows}
    return [name for name, sql in _SQLITE.items() if found.get(name) != sql]


def _wrong_on_postgresql(connection: Connection) -> list[str]:
    query = text("SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace")
    sources = {row.proname: row.prosrc for row in connection.execute(query)}
    wrong = [f"function {name}" for name, body in _FUNCTIONS.items() if sources.get(name) != body]
    for table in ("event", "event_record"):
        expected = {name: statement for name, statement in _POSTGRESQL.items() if f" ON {table} " in statement}
        found: dict[tuple[str, bool], dict[str, str]] = {}
        for row in connection.execute(_FIND, {"table": table}):
            found.setdefault((row.relation, row.whole), {})[row.name] = row.definition
        for (relation, whole), there in sorted(found.items()):
            if whole:
                wrong += [name for name, statement in expected.items() if there.get(name) != statement]
            else:
                wrong += [f"{name} of {relation}" for name in expected if "EACH ROW" in expected[name] and name not in there]
    return wrong
