"""Puts a backup back into an empty store and its spool, after it was checked (restore_check.py)."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlmodel import SQLModel

from relay.model.errors import SpoolError
from relay.settings.models import Spool as SpoolSettings
from relay.settings.models import Store
from relay.settings.ownership import give, make_folder
from relay.store import schema, transfer
from relay.store.backup_files import Backup
from relay.store.bodies import Bodies, bodies_of
from relay.store.engine import open_engine, sqlite_path
from relay.store.object_copy import copy_object, look, object_path, side_by_side, sync_folder
from relay.store.restore_check import Found
from relay.store.transfer import Progress

MESSAGE = SQLModel.metadata.tables["message"]

Finish = Callable[[Connection], None]
"""What is written into the restored store before anybody can use it: the brake, and why."""


def restore(backup: Backup, found: Found, store: Store, spool: SpoolSettings, finish: Finish, progress: Progress) -> None:
    """Bodies first, then the store, which is there all at once or can be gone on with. Raises StoreError, SpoolError, OSError."""
    if spool.s3 is None:
        _into_folder(backup, found, spool.folder, progress)
    else:
        _into_object_store(backup, found, bodies_of(spool), progress)

    def finished(connection: Connection) -> None:
        for _, name in found.renamed:
            connection.execute(MESSAGE.update().where(MESSAGE.c.id == UUID(name)).values(spool_object=name))
        finish(connection)

    database = sqlite_path(store)
    if database is not None:
        _place(backup, database, finished)
    else:
        _fill(backup, store, finished, progress)


def _into_folder(backup: Backup, found: Found, spool: Path, progress: Progress) -> None:
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


def _into_object_store(backup: Backup, found: Found, spool: Bodies, progress: Progress) -> None:
    """What is there is read again, and compared."""

    def copy(name: str) -> None:
        source = object_path(backup.objects, name)
        with source.open("rb") as file:
            spool.put(name, file)
        if spool.look(name) != look(source):
            raise SpoolError(f"spool object {name}: the copy is not the same")

    for number, _ in enumerate(side_by_side(copy, found.new), 1):
        progress("bodies", number, len(found.new))


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
