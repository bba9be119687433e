"""Makes a backup while the relay runs: the store at one moment, then every body that it names."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, create_engine, event
from sqlmodel import SQLModel

from relay.model.errors import SpoolError, SpoolUnavailable, StoreError
from relay.settings.models import Spool, Store
from relay.store import schema, transfer
from relay.store.backup_files import (
    BODIES,
    FLAT,
    MANIFEST,
    NAMED,
    OBJECTS,
    STORE,
    Backup,
    Manifest,
    backups_in,
    measure,
    read_backup,
    read_list,
    write_manifest,
)
from relay.store.bodies import Bodies, bodies_of, flat
from relay.store.engine import open_engine, sqlite_path
from relay.store.object_copy import Sealed, key_of, look, object_path, side_by_side, sync_folder
from relay.store.transfer import Progress

MESSAGE = SQLModel.metadata.tables["message"]
PAGES = 2000
"""Of the SQLite file, copied between two words to the progress."""


def back_up(store: Store, spool: Spool, target: Path, machine: str, now_us: int, progress: Progress) -> Backup:
    """Raises StoreError, OSError, SpoolUnavailable. What is unfinished has no manifest, and the next one takes its place."""
    stamp = datetime.fromtimestamp(now_us / 1e6, UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = target / stamp
    _make(target, folder)
    copy = folder / STORE
    if sqlite_path(store) is not None:
        _copy_sqlite(store, copy, progress)
    else:
        _copy_rows(store, copy, progress)
    previous = backups_in(target)
    bodies = _Bodies(bodies_of(spool), target / BODIES, previous[-1] if previous else None, _Live(store))
    try:
        bodies.copy_all(copy, folder / OBJECTS, progress)
    finally:
        bodies.close()
    with _readable(copy) as connection:
        newest = connection.execute("SELECT id FROM event ORDER BY id DESC LIMIT 1").fetchone()
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    manifest = Manifest(
        made_us=now_us,
        machine=machine,
        dialect="sqlite" if sqlite_path(store) is not None else "postgresql",
        schema=revision[0],
        newest_event=newest[0] if newest else None,
        store=measure(copy),
        objects=measure(folder / OBJECTS),
        bodies=bodies.count,
        octets=bodies.octets,
        erased=bodies.erased,
        missing=bodies.missing,
        keys=sorted(bodies.keys),
    )
    write_manifest(folder, manifest)
    for path in (copy, folder / OBJECTS, folder / MANIFEST):
        _sync(path)
    for place in (folder, target):
        sync_folder(place)
    return read_backup(folder)


def _make(target: Path, folder: Path) -> None:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    (target / BODIES).mkdir(mode=0o700, exist_ok=True)
    for leftover in target.iterdir():  # of a backup that was interrupted
        if leftover.is_dir() and leftover.name != BODIES and (leftover / STORE).exists() and not (leftover / MANIFEST).exists():
            shutil.rmtree(leftover)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise StoreError(f"{folder}: there is a backup of this second already") from None


def _copy_sqlite(store: Store, copy: Path, progress: Progress) -> None:
    """By SQLite's backup API from a reader: it stops no writer, and sees one moment, for the read transaction stays open."""
    path = sqlite_path(store)
    assert path is not None
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as source:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM alembic_version").fetchone()
            with contextlib.closing(sqlite3.connect(copy)) as target:
                source.backup(target, pages=PAGES, progress=lambda _, remaining, total: progress("store", total - remaining, total))
                target.execute("PRAGMA journal_mode=DELETE")  # one file
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from None
    copy.chmod(0o600)


def _copy_rows(store: Store, copy: Path, progress: Progress) -> None:
    """Row by row, from one snapshot, into an SQLite file; compared table by table."""
    copy.touch(mode=0o600)
    source, target = open_engine(store), _unhurried(copy)
    try:
        schema.check_schema(source)
        schema.upgrade(target)
        with transfer.one_moment(source) as found:
            transfer.begin(found, target, "backup")
            transfer.copy(found, target, progress)
            with transfer.one_moment(target) as copied:
                transfer.compare(found, copied, progress)
        with target.begin() as connection:
            connection.execute(transfer.CONTROL.delete().where(transfer.CONTROL.c.name == transfer.ROW))
    finally:
        source.dispose()
        target.dispose()


def _unhurried(path: Path) -> Engine:
    """A file that is synced at the end, whole or thrown away."""
    engine = create_engine(f"sqlite:///{path}")

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "recursive_triggers=ON"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    return engine


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


class _Bodies:
    """The bodies of one backup. What another backup in the same place has copied is not copied again."""

    def __init__(self, spool: Bodies, folder: Path, previous: Backup | None, live: "_Live") -> None:
        self._spool = spool
        self._folder = folder
        self._before = _Before(previous)
        self._live = live
        self.count = self.octets = self.erased = 0
        self.missing: list[str] = []
        self.keys: set[str] = set()

    def copy_all(self, store: Path, listing: Path, progress: Progress) -> None:
        """Every body that `store` names; the list of them is written to `listing`, by the ids of their messages."""
        touched: set[Path] = set()
        with _readable(store) as connection, listing.open("w") as lines:
            listing.chmod(0o600)
            total = connection.execute(f"SELECT count(*) {NAMED}").fetchone()[0]
            rows = connection.execute(f"SELECT spool_object, size {NAMED} ORDER BY {FLAT}")
            work = ((name, size, self._before.digest(flat(name))) for name, size in rows)
            for number, ((name, _, _), sealed) in enumerate(side_by_side(self._copy, work), 1):
                if isinstance(sealed, str):
                    self._not_copied(name, sealed)
                else:
                    lines.write(f"{flat(name)} {sealed.size} {sealed.digest}\n")
                    self.count += 1
                    self.octets += sealed.size
                    touched.add(object_path(self._folder, flat(name)).parent)
                progress("bodies", number, total)
        for folder in (*touched, self._folder):
            sync_folder(folder)

    def _copy(self, wanted: tuple[str, int, str | None]) -> Sealed | str:
        """One body, by one of several threads; what is wrong as text. `wanted` is name, octets of the body, and what it was before."""
        name, body_size, known = wanted
        target = object_path(self._folder, flat(name))
        try:
            if self._spool.same(name, target):
                sealed = Sealed(target.stat().st_size, body_size, known) if known else look(target)
            else:
                sealed = self._spool.fetch(name, target)
            if sealed.body_size != body_size:
                raise SpoolError(f"spool object {name}: {sealed.body_size} octets, the record says {body_size}")
            self.keys.add(key_of(target).hex())
        except SpoolUnavailable:
            raise  # that says nothing of this body: the next backup goes on with what is copied
        except (SpoolError, FileNotFoundError) as error:
            return str(error)
        return sealed

    def _not_copied(self, name: str, why: str) -> None:
        if self._live.names(name):
            self.missing.append(why)
        else:
            self.erased += 1

    def close(self) -> None:
        self._live.close()


class _Before:
    """The list of an earlier backup, read beside the new one: both are in the order of names."""

    def __init__(self, backup: Backup | None) -> None:
        self._lines = read_list(backup.folder / OBJECTS) if backup else iter(())
        self._next = next(self._lines, None)

    def digest(self, name: str) -> str | None:
        while self._next is not None and self._next[0] < name:
            self._next = next(self._lines, None)
        return self._next[2] if self._next is not None and self._next[0] == name else None


class _Live:
    """Whether the store still names a body: what was erased while the backup ran is not missing."""

    def __init__(self, store: Store) -> None:
        self._engine = open_engine(store)

    def names(self, name: str) -> bool:
        message = MESSAGE
        with transfer.one_moment(self._engine) as connection:
            return connection.execute(message.select().where(message.c.spool_object == name).limit(1)).first() is not None

    def close(self) -> None:
        self._engine.dispose()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
