"""Reads a backup, and what is where it is to go: everything is checked before anything is changed."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from relay.model.errors import SpoolError, SpoolUnavailable, StoreError
from relay.settings.models import Spool as SpoolSettings
from relay.settings.models import Store
from relay.store import schema, transfer
from relay.store.backup_files import Backup, measure
from relay.store.bodies import Bodies, bodies_of
from relay.store.engine import open_engine, sqlite_path
from relay.store.object_copy import key_of, look, object_path, side_by_side
from relay.store.transfer import Progress

SHOWN = 20
ROOM = 64 * 1024 * 1024
"""Octets that must be left over on a disk."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found. `problems` names the first of what is wrong, `wrong` counts all; `new` bodies are to be copied, `octets` in all;
    the others are in the spool already. `renamed` are those that had their place in a pack and get one of their own: name of before and
    after. `keys`: ids of the spool keys that the bodies need."""

    bodies: int
    new: list[str]
    renamed: list[tuple[str, str]]
    octets: int
    keys: frozenset[str]
    problems: list[str]
    wrong: int


def check(backup: Backup, store: Store, spool: SpoolSettings, progress: Progress) -> Found:
    """Reads the whole backup, and what is where it is to go. Changes nothing. Raises StoreError, OSError, SpoolUnavailable."""
    said = _Problems()
    for name, wanted in (("store.db", backup.manifest.store), ("objects.txt", backup.manifest.objects)):
        progress("files", 0, 2)
        if measure(backup.folder / name) != wanted:
            said(f"{backup.folder / name}: not what the manifest says: altered or cut short")
    for text in backup.manifest.missing:
        said(f"missing since the backup was made: {text}", wrong=False)
    _check_sqlite(backup.store, said)
    _check_empty(store)
    names = iter(()) if said.wrong else backup.names()  # what is damaged is not read
    bodies = _check_bodies(backup, _lines(backup, names), spool, said, progress)
    if spool.s3 is None:
        _check_room(spool.folder, bodies.octets, said)
    database = sqlite_path(store)
    if database is not None:
        _check_room(database.parent, backup.manifest.store.size, said)
    return Found(bodies.count, bodies.new, bodies.renamed, bodies.octets, frozenset(bodies.keys), said.first, said.wrong)


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


@dataclass
class _BodiesFound:
    """As in Found."""

    new: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    octets: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Line:
    """A body of a backup, and what it was called in the store that it comes from."""

    name: str
    before: str
    size: int
    digest: str


@dataclass
class _Looked:
    """What is wrong with it, which key it needs, and under which name it is in the spool already."""

    wrong: list[str] = field(default_factory=list)
    key: str | None = None
    place: str | None = None


def _check_bodies(backup: Backup, lines: Iterator[_Line], spool: SpoolSettings, said: _Problems, progress: Progress) -> _BodiesFound:
    found, there = _BodiesFound(), bodies_of(spool)
    for line, looked in side_by_side(lambda line: _look(backup, there, line), lines):
        found.count += 1
        for text in looked.wrong:
            said(text)
        if looked.key is not None:
            found.keys.add(looked.key)
        if looked.place is None:
            found.new.append(line.name)
            found.octets += line.size
        if (looked.place or line.name) != line.before:
            found.renamed.append((line.before, line.name))
        progress("checking bodies", found.count, backup.manifest.bodies)
    if found.count != backup.manifest.bodies:
        said(f"{backup.folder / 'objects.txt'}: {found.count} bodies, the manifest says {backup.manifest.bodies}")
    return found


def _lines(backup: Backup, names: Iterator[tuple[str, str]]) -> Iterator[_Line]:
    """Both are in the order of the names."""
    named = next(names, None)
    for name, size, digest in backup.bodies():
        while named is not None and named[0] < name:
            named = next(names, None)
        yield _Line(name, named[1] if named is not None and named[0] == name else name, size, digest)


def _look(backup: Backup, spool: Bodies, line: _Line) -> _Looked:
    """By one of several threads. Raises SpoolUnavailable."""
    looked, source = _Looked(), object_path(backup.objects, line.name)
    try:
        found = look(source)
        looked.key = key_of(source).hex()
        if (found.size, found.digest) != (line.size, line.digest):
            looked.wrong.append(f"{source}: not what {backup.folder / 'objects.txt'} says: altered or cut short")
    except (SpoolError, OSError) as error:
        looked.wrong.append(str(error))
    # It may still be where it was, beside others of its pack.
    for name in dict.fromkeys((line.before, line.name)):
        try:
            there = spool.look(name)
        except SpoolUnavailable:
            raise
        except SpoolError as error:
            looked.wrong.append(f"spool object {name}: in the spool already, and damaged: {error}")
            there = None
        if there is not None and (there.size, there.digest) != (line.size, line.digest):
            looked.wrong.append(f"spool object {name}: another body of this name is in the spool")
        if there is not None:
            looked.place = name
            break
    return looked


def _check_room(folder: Path, octets: int, said: _Problems) -> None:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < octets + ROOM:
        said(f"{folder}: {octets} octets are to come, and {free} are free")
