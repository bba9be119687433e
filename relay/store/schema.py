"""The version of the tables: make them, migrate them, and refuse what does not fit this program.

Alembic migrates, and is loaded for that only: it takes 11 MB, which a relay that runs has no use for. Which revisions there are, the files
say, and which one a store has, its table (Alembic's documentation, `alembic_version`).
"""

import datetime
import itertools
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, func, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from relay.model.errors import StoreError
from relay.store import triggers
from relay.store.corresponded import FUNCTION
from relay.store.transfer import unfinished

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
PARTITIONED = {"message": "id", "delivery": "message_id", "event": "id", "event_record": "event_id"}
MONTHS_AHEAD = 24
_UPGRADE_LOCK = 0x736C756973  # "sluis": any number that nobody else takes

# What a role may do on PostgreSQL. It owns nothing, and of events it may only add and read; erasing is for the owner.
_RELAY = {
    "message": "SELECT, INSERT, UPDATE",
    "delivery": "SELECT, INSERT, UPDATE",
    "queue": "SELECT, INSERT, UPDATE, DELETE",
    "event": "SELECT, INSERT",
    "event_record": "SELECT, INSERT",
    "request": "SELECT, INSERT, UPDATE",
    "approval": "SELECT, INSERT",
    "kept": "SELECT, INSERT, DELETE",
    "notification": "SELECT, INSERT, UPDATE",
    "policy_version": "SELECT, INSERT",
    "policy_rollout": "SELECT, INSERT, UPDATE",
    "control": "SELECT, INSERT, UPDATE",
    "counter": "SELECT, INSERT, UPDATE, DELETE",
    "tally": "SELECT, INSERT, UPDATE",
    "unheard": "SELECT, INSERT, DELETE",
    "alembic_version": "SELECT",
}
# What only listens adds messages and events, and reads neither; it sees phase and brake, and changes nothing that was decided.
_LISTEN = {
    "message": "INSERT",
    "delivery": "INSERT, SELECT (message_id, state, possible_duplicates)",  # as its metrics count them: not who wrote to whom
    "queue": "INSERT",
    "event": "INSERT",
    "event_record": "INSERT",
    "kept": "INSERT",
    "notification": "INSERT",
    "policy_version": "SELECT",
    "control": "SELECT",
    "counter": "SELECT, INSERT, UPDATE, DELETE",
    "tally": "SELECT, INSERT, UPDATE",
    "unheard": "SELECT, INSERT, DELETE",
    "alembic_version": "SELECT",
}


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _revisions() -> list[str]:
    """Oldest first: one follows the other, and the name of each file begins with its own."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def newest() -> str:
    """The revision that this program needs."""
    revisions = _revisions()
    if not revisions:
        raise StoreError("this installation has no migrations")
    return revisions[-1]


def is_known(revision: str) -> bool:
    """Whether this program can migrate from it."""
    return revision in _revisions()


def current(connection: Connection) -> str | None:
    """The revision of the store, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return revision


def upgrade(engine: Engine, relay_role: str | None = None, listen_role: str | None = None) -> tuple[str | None, str]:
    """Migrates to the newest revision, in one transaction, makes partitions ahead, and gives the roles their rights (PostgreSQL). Gives the
    revision before and after. Raises StoreError, and nothing is changed then: newer than this program, or the database refused."""
    from alembic import command
    from alembic.util import CommandError

    try:
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))  # two upgrades wait for each other
            before = current(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if connection.dialect.name == "postgresql":
                make_partitions(connection)
                for role, rights in ((relay_role, _RELAY), (listen_role, _LISTEN)):
                    if role:
                        _grant(connection, role, rights)
    except (SQLAlchemyError, CommandError) as error:
        raise StoreError(f"the store could not be migrated: {error.args[0]}") from None
    return before, newest()


def check_schema(engine: Engine) -> None:
    """Raises StoreError: empty, older or newer than this program, without its triggers, or only half there."""
    check_version(engine)
    try:
        with engine.connect() as connection:
            half = unfinished(connection)
    except SQLAlchemyError as error:
        raise StoreError(f"the store can't be opened: {error.args[0]}") from None
    if half is not None:
        raise StoreError(f"the store is not all there: its {half} was interrupted (run the same command again)")


def check_version(engine: Engine) -> None:
    """Raises StoreError: empty, older or newer than this program, or without its triggers."""
    try:
        with engine.connect() as connection:
            found = current(connection)
            if found != newest():
                state = "is empty" if found is None else f"has schema {found}"
                raise StoreError(f"the store {state}, this program needs {newest()} (run: sluis store upgrade)")
            triggers.check(connection)
    except SQLAlchemyError as error:
        raise StoreError(f"the store can't be opened: {error.args[0]}") from None


def make_partitions(connection: Connection, months_back: int = 0) -> None:
    """A partition for each month from now on, and a default one, so that no insert can fail; `months_back`: earlier ones too, for rows that
    are brought from elsewhere. A month whose rows went into the default one, because nobody upgraded for so long, stays there: PostgreSQL
    refuses a partition for rows that lie elsewhere."""
    now = datetime.datetime.now(datetime.UTC)
    numbers = range(12 * now.year + now.month - 1 - months_back, 12 * now.year + now.month + MONTHS_AHEAD)
    months = [(number // 12, number % 12 + 1) for number in numbers]
    for table, column in PARTITIONED.items():
        connection.execute(text(f"CREATE TABLE IF NOT EXISTS {table}_default PARTITION OF {table} DEFAULT"))
        for this, following in itertools.pairwise(months):
            start, end = _first_id(*this), _first_id(*following)
            late = f"SELECT EXISTS (SELECT FROM {table}_default WHERE {column} >= '{start}' AND {column} < '{end}')"  # noqa: S608 - our names
            if not connection.execute(text(late)).scalar():
                partition = f"{table}_{this[0]}_{this[1]:02d}"
                bounds = f"FROM ('{start}') TO ('{end}')"
                connection.execute(text(f"CREATE TABLE IF NOT EXISTS {partition} PARTITION OF {table} FOR VALUES {bounds}"))


def _first_id(year: int, month: int) -> uuid.UUID:
    """The smallest UUIDv7 of a month (RFC 9562 §5.7)."""
    milliseconds = int(datetime.datetime(year, month, 1, tzinfo=datetime.UTC).timestamp() * 1000)
    return uuid.UUID(int=milliseconds << 80)


def _grant(connection: Connection, role: str, rights: dict[str, str]) -> None:
    """Just these: what the role had before is taken away first, that on columns too."""
    quoted = connection.dialect.identifier_preparer.quote_identifier(role)
    for table in _RELAY:
        connection.execute(text(f"REVOKE ALL ON {table} FROM {quoted}"))
        if table in rights:
            connection.execute(text(f"GRANT {rights[table]} ON {table} TO {quoted}"))
    connection.execute(text(f"GRANT EXECUTE ON FUNCTION {FUNCTION}(text, text, integer) TO {quoted}"))
