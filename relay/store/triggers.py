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

_POSTGRESQL = (
    """CREATE FUNCTION sluis_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$""",
    """CREATE FUNCTION sluis_erase_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.event_id = OLD.event_id AND NEW.message_id IS NOT DISTINCT FROM OLD.message_id
            AND length(NEW.canonical) = 0 AND length(NEW.salt) = 0 THEN RETURN NEW; END IF;
        RAISE EXCEPTION 'event_record can only be erased';
    END $$""",
    "CREATE TRIGGER event_no_update BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION sluis_append_only()",
    "CREATE TRIGGER event_no_delete BEFORE DELETE ON event FOR EACH ROW EXECUTE FUNCTION sluis_append_only()",
    "CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION sluis_append_only()",
    "CREATE TRIGGER event_record_no_update BEFORE UPDATE ON event_record FOR EACH ROW EXECUTE FUNCTION sluis_erase_only()",
    "CREATE TRIGGER event_record_no_delete BEFORE DELETE ON event_record FOR EACH ROW EXECUTE FUNCTION sluis_append_only()",
    "CREATE TRIGGER event_record_no_truncate BEFORE TRUNCATE ON event_record FOR EACH STATEMENT EXECUTE FUNCTION sluis_append_only()",
)
_POSTGRESQL_NAMES = frozenset(
    {
        "event_no_update",
        "event_no_delete",
        "event_no_truncate",
        "event_record_no_update",
        "event_record_no_delete",
        "event_record_no_truncate",
    }
)


def create(connection: Connection) -> None:
    """Makes them all; part of a migration."""
    for statement in _SQLITE.values() if connection.dialect.name == "sqlite" else _POSTGRESQL:
        connection.execute(text(statement))


def check(connection: Connection) -> None:
    """Raises StoreError where one is missing, disabled or not as it was made."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        found: dict[str, str] = {row.name: row.sql for row in rows}
        wrong = [name for name, sql in _SQLITE.items() if found.get(name) != sql]
    else:
        rows = connection.execute(
            text(
                "SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relname IN ('event', 'event_record') AND n.nspname = current_schema() AND t.tgenabled IN ('O', 'A')"
            )
        )
        wrong = sorted(_POSTGRESQL_NAMES - {name for (name,) in rows})
    if wrong:
        raise StoreError(f"the append-only triggers {', '.join(wrong)} are missing or changed: events could be altered unseen")
