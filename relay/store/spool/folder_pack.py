"""A pack in a folder: the bodies of several messages in one file `ID.pack`, whose folder and id are those of a moment (UUIDv7).

    0     magic and version (16 octets), number of bodies (4)
    20    for each: message id (16), offset and length in this file (8 each)
          SHA-256 of all before it
          the bodies, one after another, each as it stands in a file of its own (format.py): header with key slots, body, manifest, trailer

It is written once, but for the key slots, as those of a file. Erasing a body wipes its slots, and with them the only copy of its key;
what is left of it are octets that nothing opens, until nobody needs anything in the pack any more. A body's name is `ID/MESSAGE`, both in
hex, as in an object store (pack.py).
"""

import hashlib
import io
import logging
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, cast
from uuid import UUID

from relay.model.errors import SpoolError
from relay.store.spool.format import SLOT_SIZE, SLOTS
from relay.store.spool.pack import split

log = logging.getLogger("sluis.spool")
MAGIC = b"sluis-packed\x00\x00\x00\x01"
SUFFIX = ".pack"
UNFINISHED = ".new"
"""Of a pack that is being written: it is renamed when it is durable, so that a crash leaves no pack that is not whole."""
_COUNT = struct.Struct(">I")
_ENTRY = struct.Struct(">16sQQ")
_CHECK = 32
_MOST = 100_000
_WIPED = bytes(2 * SLOT_SIZE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a body lies in its pack."""

    offset: int
    length: int


def encode(bodies: Iterable[tuple[UUID, bytes]]) -> bytes:
    """A pack of these objects."""
    bodies = list(bodies)
    begin = len(MAGIC) + _COUNT.size + len(bodies) * _ENTRY.size
    index, offset = bytearray(MAGIC + _COUNT.pack(len(bodies))), begin + _CHECK
    for identity, octets in bodies:
        index += _ENTRY.pack(identity.bytes, offset, len(octets))
        offset += len(octets)
    return b"".join([index, hashlib.sha256(index).digest(), *(octets for _, octets in bodies)])


class PackFile:
    """A pack that is open; `mode` is "rb", or "r+b" to change key slots. Raises OSError; SpoolError where its index is damaged."""

    def __init__(self, path: Path, mode: str = "rb") -> None:
        self.path = path
        self._file = io.FileIO(path, mode.replace("b", ""))
        try:
            self.places = self._index()
        except BaseException:
            self._file.close()
            raise

    def _index(self) -> dict[UUID, Place]:
        begin = self._file.read(len(MAGIC) + _COUNT.size)
        if begin[: len(MAGIC)] != MAGIC or len(begin) < len(MAGIC) + _COUNT.size:
            raise SpoolError(f"pack {self.path.stem}: not a pack, or of a format that is not known")
        (count,) = _COUNT.unpack(begin[len(MAGIC) :])
        rest = self._file.read(count * _ENTRY.size + _CHECK) if count <= _MOST else b""
        entries, check = rest[:-_CHECK], rest[-_CHECK:]
        if len(entries) != count * _ENTRY.size or hashlib.sha256(begin + entries).digest() != check:
            raise SpoolError(f"pack {self.path.stem}: its index is altered or cut short")
        return {UUID(bytes=identity): Place(offset, length) for identity, offset, length in _ENTRY.iter_unpack(entries)}

    def window(self, identity: UUID) -> BinaryIO:
        """One body, as a file of its own would be read and changed; which closes with it. Raises SpoolError."""
        place = self.places.get(identity)
        if place is None:
            raise SpoolError(f"spool object {self.path.stem}/{identity.hex}: its pack has no such body")
        if os.fstat(self._file.fileno()).st_size < place.offset + place.length:
            raise SpoolError(f"spool object {self.path.stem}/{identity.hex}: cut short")
        return cast(BinaryIO, _Window(self._file, place))

    def left(self) -> Iterator[UUID]:
        """Those that were not erased."""
        for identity, place in self.places.items():
            if os.pread(self._file.fileno(), len(_WIPED), place.offset + SLOTS[0]) not in (_WIPED, b""):
                yield identity

    def wipe(self, identities: Iterable[UUID]) -> None:
        """Their keys; durable when the file is synced."""
        for identity in identities:
            place = self.places.get(identity)
            if place is not None:
                os.pwrite(self._file.fileno(), _WIPED, place.offset + SLOTS[0])

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def object_file(folder: Path, name: str) -> Path:
    """The file in a folder of objects that a body lies in."""
    pack, _, _ = name.rpartition("/")
    return folder / name[:6] / (pack + SUFFIX if pack else name)


def open_object(folder: Path, name: str, mode: str = "rb") -> BinaryIO:
    """A body as a file of its own would be read and changed, wherever it lies. Raises OSError, SpoolError."""
    path = object_file(folder, name)
    if "/" not in name:
        return cast(BinaryIO, path.open(mode))
    pack = PackFile(path, mode)
    try:
        return pack.window(split(name)[1])
    except BaseException:
        pack.close()
        raise


Failed = Callable[[str, Exception], None]
"""Hears of each pack or body that could not be understood, and why."""


def names_in(folder: Path, failed: Failed | None = None) -> Iterator[str]:
    """Every body in one folder of a spool. A pack that is damaged is told, and left out."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                yield from names_of(folder / entry.name, failed)
            elif not entry.name.endswith(UNFINISHED):
                yield entry.name


def names_of(path: Path, failed: Failed | None = None) -> list[str]:
    """The bodies of a pack that were not erased; none where it is gone, or damaged, which is logged where nobody wants to hear of it."""
    try:
        with PackFile(path) as pack:
            return [f"{path.stem}/{identity.hex}" for identity in pack.left()]
    except FileNotFoundError:
        return []
    except SpoolError as error:
        if failed is not None:
            failed(path.stem, error)
        else:
            log.error("a pack is damaged", extra={"fields": {"pack": path.stem, "error": str(error)}})
        return []


class _Window(io.RawIOBase):
    """Octets of a file from `place` on, which it neither leaves nor makes longer."""

    def __init__(self, file: io.FileIO, place: Place) -> None:
        self._file = file
        self._place = place
        self._position = 0
        self.name = file.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._place.length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        """As many octets as are there."""
        left = max(0, self._place.length - self._position)
        data = os.pread(self._file.fileno(), left if size < 0 else min(size, left), self._place.offset + self._position)
        self._position += len(data)
        return data

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Raises ValueError beyond its end."""
        if self._position + len(data) > self._place.length:
            raise ValueError("a body in a pack does not grow")
        written = os.pwrite(self._file.fileno(), data, self._place.offset + self._position)
        self._position += written
        return written

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()
