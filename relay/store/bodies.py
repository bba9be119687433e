"""Where bodies lie, as `sluis store migrate`, `backup` and `restore` see it: sealed objects by name, in a folder or an object store. What
copies them needs no key. In a folder a body's name is the id of its message; in an object store the id of its pack may stand before it, and
what is brought there gets a pack of its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from relay.model.errors import SpoolError
from relay.settings.models import Spool
from relay.store.object_copy import Sealed, copy_object, look, object_path, same_but_for_keys, sync_folder


class Bodies(Protocol):
    """Where they are, or go. All methods raise OSError or SpoolUnavailable where the place is away."""

    def look(self, name: str) -> Sealed | None:
        """Reads the whole object; None: it is not there. Raises SpoolError: not sealed, or damaged."""
        ...

    def put(self, name: str, source: Path) -> None:
        """The object is there, whole and durable, when it returns. Raises SpoolError."""
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
            yield from sorted(path.name for path in folder.iterdir())

    def look(self, name: str) -> Sealed | None:
        try:
            return look(object_path(self.folder, name))
        except FileNotFoundError:
            return None

    def file(self, name: str) -> Path:
        return object_path(self.folder, name)

    def put(self, name: str, source: Path) -> None:
        target = object_path(self.folder, name)
        copy_object(source, target, 0o660)
        sync_folder(target.parent)
        sync_folder(self.folder)

    def fetch(self, name: str, target: Path) -> Sealed:
        return copy_object(object_path(self.folder, name), target)

    def same(self, name: str, copy: Path) -> bool:
        return same_but_for_keys(object_path(self.folder, name), copy)


def bodies_of(settings: Spool) -> Bodies:
    """Where the bodies of these settings lie."""
    if settings.s3 is None:
        return FolderBodies(settings.folder)
    from relay.store.spool.s3_bodies import S3Bodies  # as in relay/store/spool/open.py

    return S3Bodies(settings)


def flat(name: str) -> str:
    """The name without its pack: the message's id, by which its octets are bound, wherever they lie."""
    return name.rpartition("/")[2]


def same_place(one: Spool, other: Spool) -> bool:
    """Whether bodies of both lie in the same place."""
    if one.s3 is None or other.s3 is None:
        return one.s3 is other.s3 and one.folder.resolve() == other.folder.resolve()
    return (one.s3.url, one.s3.endpoint) == (other.s3.url, other.s3.endpoint)


def move_body(source: FolderBodies, target: Bodies, name: str) -> bool:
    """Copies one object, unless it is there already, and reads both again: the same octets. False: the source has no sealed object of
    this name. Raises SpoolError: the two differ, or the source is damaged."""
    here = source.look(name)
    if here is None:
        return False
    there = target.look(name)
    if there is None:
        target.put(name, source.file(name))
        there = target.look(name)
    if there != here:
        raise SpoolError(f"spool object {name}: the copy is not the same")
    return True
