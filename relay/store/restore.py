"""Puts a backup back into an empty store and its spool. Everything is checked before anything is changed."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine

from relay.model.errors import SpoolError, StoreError
from relay.settings.models import Store
from relay.settings.ownership import give, make_folder
from relay.store import schema, transfer
from relay.store.backup_files import Backup, measure
from relay.store.engine import open_engine, sqlite_path
from relay.store.object_copy import copy_object, key_of, look, object_path, side_by_side, sync_folder
from relay.store.transfer import Progress

SHOWN = 20
ROOM = 64 * 1024 * 1024
"""Octets that must be left over on a disk."""

Finish = Callable[[Connection], None]
"""What is written into the restored store before anybody can use it: the brake, and why."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found. `problems` names the first of what is wrong, `wrong` counts all; `new` bodies are to be copied, `octets` in all;
    the others are in the spool already. `keys`: ids of the spool keys that the bodies need."""

    bodies: int
    new: list[str]
    octets: int
    keys: frozenset[str]
    problems: list[str]
    wrong: int


def check(backup: Backup, store: Store, spool: Path, progress: Progress) -> Found:
    """Reads the whole backup, and what is where it is to go. Changes nothing. Raises StoreError, OSError."""
    said = _Problems()
    for name, wanted in (("store.db", backup.manifest.store), ("objects.txt", backup.manifest.objects)):
        progress("files", 0, 2)
        if measure(backup.folder / name) != wanted:
            said(f"{backup.folder / name}: not what the manifest says: altered or cut short")
    for text in backup.manifest.missing:
        said(f"missing since the backup was made: {text}", wrong=False)
    _check_sqlite(backup.store, said)
    _check_empty(store)
    new, octets, count, keys = _check_bodies(backup, spool, said, progress)
    _check_room(spool, octets, said)
    database = sqlite_path(store)
    if database is not None:
        _check_room(database.parent, backup.manifest.store.size, said)
    return Found(count, new, octets, frozenset(keys), said.first, said.wrong)


class _Problems:
    """Counts all, keeps the first."""

    def __init__(self) -> None:
        self.first: list[str] = []
        self.wrong = 0

    def __call__(self, text: str, *, wrong: bool = True) -> None:
        self.wrong += wrong
        if len(self.first) < SHOWN:
            self.first.append(text)


def _check_sqlite(path: Path, said: _Problems) -> None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            for (text,) in connection.execute("PRAGMA integrity_check(5)"):
                if text != "ok":
                    said(f"{path}: {text}")
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        said(f"{path}: {error}")
        return
    if not schema.is_known(revision):
        said(f"{path}: schema {revision} is not known to this program: it is of a newer one")


def _check_empty(store: Store) -> None:
    """Raises StoreError."""
    database = sqlite_path(store)
    if database is not None and not database.exists():
        return
    engine = open_engine(store)
    try:
        with transfer.one_moment(engine) as connection:
            if schema.current(connection) is None and database is not None:
                return
            if schema.current(connection) != schema.newest():
                raise StoreError("the store has no tables of this program's version (run: sluis store upgrade)")
            filled = transfer.filled_tables(connection)
            half = transfer.unfinished(connection)
            if filled and half != "restore":
                raise StoreError(f"the store is not empty (it has rows in {', '.join(filled)}): a backup goes into an empty one only")
    finally:
        engine.dispose()


def _check_bodies(backup: Backup, spool: Path, said: _Problems, progress: Progress) -> tuple[list[str], int, int, set[str]]:
    new: list[str] = []
    keys: set[str] = set()
    octets = count = 0
    for name, size, digest in backup.bodies():
        count += 1
        source, there = object_path(backup.objects, name), object_path(spool, name)
        try:
            found = look(source)
            keys.add(key_of(source).hex())
            if (found.size, found.digest) != (size, digest):
                said(f"{source}: not what {backup.folder / 'objects.txt'} says: altered or cut short")
        except (SpoolError, OSError) as error:
            said(str(error))
        if there.exists():
            try:
                found = look(there)
                if (found.size, found.digest) != (size, digest):
                    said(f"{there}: another body of this name is in the spool")
            except SpoolError as error:
                said(f"{there}: in the spool already, and damaged: {error}")
        else:
            new.append(name)
            octets += size
        progress("checking bodies", count, backup.manifest.bodies)
    if count != backup.manifest.bodies:
        said(f"{backup.folder / 'objects.txt'}: {count} bodies, the manifest says {backup.manifest.bodies}")
    return new, octets, count, keys


def _check_room(folder: Path, octets: int, said: _Problems) -> None:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < octets + ROOM:
        said(f"{folder}: {octets} octets are to come, and {free} are free")


def restore(backup: Backup, found: Found, store: Store, spool: Path, finish: Finish, progress: Progress) -> None:
    """Bodies first, then the store, which is there all at once or can be gone on with. Raises StoreError, SpoolError, OSError."""
    owner = make_folder(spool)
    touched: set[Path] = set()

    def copy(name: str) -> Path:
        target = object_path(spool, name)
        copy_object(object_path(backup.objects, name), target, 0o660)
        give(target, owner)
        give(target.parent, owner)
        return target.parent

    for number, (_, folder) in enumerate(side_by_side(copy, found.new), 1):
        touched.add(folder)
        progress("bodies", number, len(found.new))
    for folder in (*touched, spool):
        sync_folder(folder)
    database = sqlite_path(store)
    if database is not None:
        _place(backup, database, finish)
    else:
        _fill(backup, store, finish, progress)


def _place(backup: Backup, database: Path, finish: Finish) -> None:
    """The file is made ready beside its place, and renamed into it."""
    owner = make_folder(database.parent)
    ready = database.with_name(f"{database.name}.restoring")
    for suffix in ("", "-wal", "-shm"):
        ready.with_name(ready.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(backup.store, ready)
    ready.chmod(0o600)
    engine = _upgraded(ready)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            finish(connection)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        engine.dispose()
    give(ready, owner)
    descriptor = os.open(ready, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    for suffix in ("-wal", "-shm"):  # of the empty store that is replaced
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    ready.replace(database)
    sync_folder(database.parent)


def _fill(backup: Backup, store: Store, finish: Finish, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix="sluis-restore-") as place:
        copy = Path(place) / "store.db"
        shutil.copyfile(backup.store, copy)
        source, target = _upgraded(copy), open_engine(store)
        try:
            with transfer.one_moment(source) as found:
                transfer.begin(found, target, "restore")
                transfer.copy(found, target, progress)
                with transfer.one_moment(target) as copied:
                    transfer.compare(found, copied, progress)
            with target.begin() as connection:
                finish(connection)
                transfer.finish(connection)
        finally:
            source.dispose()
            target.dispose()


def _upgraded(path: Path) -> Engine:
    engine = open_engine(Store(url=f"sqlite:///{path}"))
    schema.upgrade(engine)
    return engine
