"""Opens the database, and refuses one that could not keep promise 1."""

import fcntl
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from relay.model.errors import StoreError
from relay.model.plain_json import json_text, json_value
from relay.settings.models import Store
from relay.settings.ownership import give, make_folder
from relay.store.durability import watch_postgresql

POSTGRESQL = {
    "connect_timeout": 10,
    # A process that stands still amid a transaction keeps its locks, and so keeps the brake from being pulled and others from its
    # deliveries: the server ends it. None of ours waits for anything but the server while it is in a transaction.
    # What looks dear, for the many months of a large store, would be compiled before it is run (PostgreSQL documentation, "When to JIT?"):
    # longer than any list or search of ours takes.
    "options": "-c idle_in_transaction_session_timeout=5s -c jit=off",
    # A server or network that is gone is noticed after 25 seconds.
    **{"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000},
}


def open_engine(settings: Store) -> Engine:
    """SQLite: WAL, every commit synced, triggers fire for REPLACE too. PostgreSQL: psycopg. Raises StoreError."""
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        if url.database:
            path = Path(url.database)
            try:
                folder = make_folder(path.parent)
                if not path.exists():
                    path.touch(mode=0o600)
                    give(path, folder)
                # addresses and subjects are in it; its WAL gets the same mode (SQLite documentation, WAL)
            except OSError as error:
                raise StoreError(f"store.url: {path}: {error.strerror}") from None
        arguments = {"timeout": 30, "check_same_thread": False}
        engine = create_engine(url, connect_args=arguments, pool_size=5, json_serializer=json_text, json_deserializer=json_value)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    if url.get_backend_name() != "postgresql" or url.get_driver_name() != "psycopg":
        raise StoreError(f"store.url: {url.get_backend_name()} is not supported: sqlite:///PATH or postgresql+psycopg://…")
    if url.password:
        raise StoreError("store.url holds a password; put it in a PostgreSQL password file (PGPASSFILE)")
    # The connection that was used last is used next: it knows the partitions, and has its statements prepared.
    pool: dict[str, Any] = {"pool_size": 10, "pool_pre_ping": True, "pool_use_lifo": True}
    # A page of a list has a thousand JSON values.
    engine = create_engine(url, connect_args=POSTGRESQL, json_serializer=json_text, json_deserializer=json_value, **pool)
    watch_postgresql(engine, settings.standby)
    return engine


def open_to_read(settings: Store) -> Engine:
    """For whoever only reads, beside the process that writes: on SQLite the file can't be written to over it, not even by a checkpoint.
    Raises StoreError."""
    database = sqlite_path(settings)
    if database is None:
        return open_engine(settings)
    must_be_made(settings)
    if not os.access(database, os.R_OK):
        raise StoreError(f"{database}: you may not read the store (the user of the relay and root may)")
    # SQLite documentation, "URI Filenames"
    url = f"sqlite:///file:{quote(str(database.absolute()))}?mode=ro&uri=true"
    arguments = {"timeout": 30, "check_same_thread": False}
    return create_engine(url, connect_args=arguments, pool_size=1, json_deserializer=json_value)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "recursive_triggers=ON",
        "foreign_keys=ON",
        "wal_autocheckpoint=2000",
        "cache_size=-32768",  # KiB: the pages that each commit touches
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def sqlite_path(settings: Store) -> Path | None:
    """The database file, or None for PostgreSQL."""
    url = make_url(settings.url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def must_be_made(settings: Store) -> None:
    """Raises StoreError where there is no SQLite file yet: opening it would make one, empty, that belongs to whoever did."""
    database = sqlite_path(settings)
    if database is not None and not database.exists():
        raise StoreError(f"{database}: no store yet (run: sluis store upgrade)")


def check_durability(engine: Engine) -> None:
    """Raises StoreError where the server would say `committed` before it is so. PostgreSQL is asked by each connection that is made."""
    try:
        with engine.connect() as connection:
            # 2 is FULL (SQLite documentation, PRAGMA synchronous)
            if engine.dialect.name == "sqlite" and (
                connection.execute(text("PRAGMA synchronous")).scalar() != 2
                or not connection.execute(text("PRAGMA recursive_triggers")).scalar()
            ):
                raise StoreError("SQLite does not sync its commits, or recursive_triggers is off")
    except SQLAlchemyError as error:
        raise StoreError(f"the store can't be opened: {error.args[0]}") from None


class WriterLock:
    """On SQLite exactly one process writes: the one that holds this lock (flock, so that it goes with the process)."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises StoreError that names the process which holds it."""
        folder = make_folder(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreError(f"the store is held by process {holder or 'unknown'}") from None
        give(self._path, folder)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._file = descriptor

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
