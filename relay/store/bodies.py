"""Where bodies lie, as `sluis store migrate`, `backup` and `restore` see it: sealed objects by name, in a folder or an object store. What
copies them needs no key. A body's name is the id of its message, and the id of its pack may stand before it; what is brought anywhere gets
a file or a pack of its own.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from sqlalchemy import text

from relay.model.errors import SpoolError
from relay.settings.models import Spool
from relay.store.object_copy import Sealed, copy_from, look_at, object_path, same_but_for_keys, sync_folder
from relay.store.spool.folder_pack import names_in, open_object


class Bodies(Protocol):
    """Where they are, or go. All methods raise OSError or SpoolUnavailable where the place is away."""

    def look(self, name: str) -> Sealed | None:
        """Reads the whole object; None: it is not there. Raises SpoolError: not sealed, or damaged."""
        ...

    def put(self, name: str, source: BinaryIO) -> None:
        """The object is there, whole and durable, when it returns; `name` has no pack. Raises SpoolError."""
        ...

    def fetch(self, name: str, target: Path) -> Sealed:
        """A durable copy as a file, whole or not there. Raises SpoolError: not sealed, damaged, or gone (FileNotFoundError in a folder)."""
        ...

    def same(self, name: str, copy: Path) -> bool:
        """Whether a copy has the same length, and the same header: what is behind it is written once, so that it needs no second look."""
        ...


class FolderBodies:
    """The spool's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> Iterator[str]:
        for folder in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            yield from sorted(names_in(folder))

    def look(self, name: str) -> Sealed | None:
        try:
            with self.open(name) as file:
                return look_at(file, name)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """Raises OSError, SpoolError."""
        return open_object(self.folder, name)

    def put(self, name: str, source: BinaryIO) -> None:
        target = object_path(self.folder, name)
        copy_from(source, name, target, 0o660)
        sync_folder(target.parent)
        sync_folder(self.folder)

    def fetch(self, name: str, target: Path) -> Sealed:
        with self.open(name) as file:
            return copy_from(file, name, target)

    def same(self, name: str, copy: Path) -> bool:
        with contextlib.suppress(FileNotFoundError), self.open(name) as file:
            return same_but_for_keys(file, copy)
        return False


def bodies_of(settings: Spool) -> Bodies:
    """Where the bodies of these settings lie."""
    if settings.s3 is None:
        return FolderBodies(settings.folder)
    from relay.store.spool.s3_bodies import S3Bodies  # as in relay/store/spool/open.py

    return S3Bodies(settings)


def flat(name: str) -> str:
    """The name without its pack: the message's id, by which its octets are bound, wherever they lie."""
    return name.rpartition("/")[2]


OUT_OF_PACKS = text("UPDATE message SET spool_object = substr(spool_object, 34) WHERE substr(spool_object, 33, 1) = '/'")
"""In a store whose bodies were brought elsewhere: what stands behind the 32 digits of a pack."""


def same_place(one: Spool, other: Spool) -> bool:
    """Whether bodies of both lie in the same place."""
    if one.s3 is None or other.s3 is None:
        return one.s3 is other.s3 and one.folder.resolve() == other.folder.resolve()
    return (one.s3.url, one.s3.endpoint) == (other.s3.url, other.s3.endpoint)


def move_body(source: FolderBodies, target: Bodies, name: str) -> bool:
    """Copies one object, unless it is there already, under its name without a pack, and reads both again: the same octets. False: the
    source has no sealed object of this name. Raises SpoolError: the two differ, or the source is damaged."""
    here = source.look(name)
    if here is None:
        return False
    there = target.look(flat(name))
    if there is None:
        with source.open(name) as file:
            target.put(flat(name), file)
        there = target.look(flat(name))
    if there != here:
        raise SpoolError(f"spool object {name}: the copy is not the same")
    return True
