"""The files of a backup, and how they are found whole.

    TARGET/objects/019abc/019abc…          bodies by the ids of their messages, encrypted as in the spool, and laid out as in its folder
                                           though they were in an object store; shared by all backups in TARGET
    TARGET/20261124T120000Z/store.db       the store at one moment: an SQLite file, whatever the store is
                            objects.txt    `name octets sha256` of each body that the store names, in the order of their names
                            manifest.json  sizes and SHA-256 of these, written last: a folder without one is no backup

There is no key in it: whoever has it can't read a body, and nor can you without the keys that you keep apart.
"""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from relay.model.errors import StoreError
from relay.store.object_copy import PIECE

FORMAT = 1
STORE = "store.db"
OBJECTS = "objects.txt"
MANIFEST = "manifest.json"
BODIES = "objects"
FLAT = "substr(spool_object, instr(spool_object, '/') + 1)"
"""In the SQL of SQLite: a body's name without the pack before it (relay/store/bodies.py)."""
NAMED = "FROM message WHERE spool_object IS NOT NULL"


@dataclass(frozen=True, slots=True)
class File:
    """`sha256` is hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. Times are microseconds since 1970 UTC. `erased` bodies were removed for good while the backup ran; `missing`
    ones should have been there and were not, or were damaged. `keys` are ids of the spool keys that are needed to read the bodies."""

    made_us: int
    machine: str
    dialect: str
    schema: str
    newest_event: str | None
    store: File
    objects: File
    bodies: int
    octets: int
    erased: int
    missing: list[str]
    keys: list[str]
    format: int = field(default=FORMAT)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole backup in its folder."""

    folder: Path
    manifest: Manifest

    @property
    def store(self) -> Path:
        return self.folder / STORE

    def bodies(self) -> Iterator[tuple[str, int, str]]:
        """Name, octets and digest of each body. Raises StoreError for a line that is none."""
        return read_list(self.folder / OBJECTS)

    def names(self) -> Iterator[tuple[str, str]]:
        """Of each body the name in `objects`, and that in the store it comes from; in the order of the former. Raises sqlite3.Error."""
        with closing(sqlite3.connect(f"{self.store.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            yield from connection.execute(f"SELECT {FLAT}, spool_object {NAMED} ORDER BY 1")

    @property
    def objects(self) -> Path:
        """The folder of the bodies."""
        return self.folder.parent / BODIES


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """The last file of a backup."""
    path = folder / MANIFEST
    path.touch(mode=0o600)
    path.write_text(json.dumps(manifest.to_json(), indent=1) + "\n")


def read_backup(folder: Path) -> Backup:
    """Raises StoreError: no backup, or of a format that is not known."""
    try:
        value = json.loads((folder / MANIFEST).read_text())
        if value["format"] != FORMAT:
            raise StoreError(f"{folder / MANIFEST}: format {value['format']} is not known to this program")
        parts = {name: File(**value[name]) for name in ("store", "objects")}
        return Backup(folder, Manifest(**{**value, **parts}))
    except OSError as error:
        raise StoreError(f"{folder}: no backup: {MANIFEST}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / MANIFEST}: not the manifest of a backup: {error}") from None


def backups_in(target: Path) -> list[Backup]:
    """The whole ones, oldest first."""
    folders = sorted(path.parent for path in target.glob(f"*/{MANIFEST}"))
    return [read_backup(folder) for folder in folders]


def newest_backup(source: Path) -> Backup:
    """The backup in this folder, or the newest of those below it. Raises StoreError."""
    if (source / MANIFEST).exists():
        return read_backup(source)
    found = backups_in(source)
    if not found:
        raise StoreError(f"{source}: no backup here (a folder that `sluis store backup` wrote)")
    return found[-1]


def read_list(path: Path) -> Iterator[tuple[str, int, str]]:
    """The lines of a list of bodies."""
    with path.open() as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if len(words) != 3 or not words[1].isdigit() or "/" in words[0] or words[0].startswith("."):
                raise StoreError(f"{path}:{number}: not a line of a list of bodies")
            yield words[0], int(words[1]), words[2]


def measure(path: Path) -> File:
    """Reads the whole file. Raises OSError."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
    return File(size, digest.hexdigest())


def prune(target: Path, keep: int) -> tuple[int, int]:
    """Removes all but the newest `keep` backups, and bodies that none of these names. Gives how many of both."""
    backups = backups_in(target)
    old = backups[:-keep]
    if not old:
        return 0, 0
    for backup in old:
        (backup.folder / MANIFEST).unlink()  # first: what is half removed is no backup
        shutil.rmtree(backup.folder)
    wanted = {name for backup in backups[-keep:] for name, _, _ in backup.bodies()}
    removed = 0
    for path in (target / BODIES).glob("*/*"):
        if path.name not in wanted:
            path.unlink()
            removed += 1
    return len(old), removed
