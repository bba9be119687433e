"""A body in a pack as a file of a folder would be read: header, then pieces of the object, fetched when they are wanted."""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from relay.store.spool.format import BODY_START, read_body

PIECE = 1024 * 1024
"""Fetched at once: a delivery that is slow holds no connection to the store, and no more than this in memory."""

Fetch = Callable[[int, int], bytes]
"""Octets of a body from an offset in it, behind its header."""


class ObjectFile(io.RawIOBase):
    """Seek and read. `first` are the octets behind the header that are here already."""

    def __init__(self, header: bytes, length: int, fetch: Fetch, first: bytes = b"") -> None:
        self._header = header
        self._length = length
        self._fetch = fetch
        self._held = (0, first)
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: BODY_START + self._length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        """As many octets as are there. Raises SpoolUnavailable."""
        end = BODY_START + self._length
        wanted = max(0, min(size if size >= 0 else end, end - self._position))
        out = bytearray(self._header[self._position : self._position + wanted])
        while len(out) < wanted:
            piece = self._piece(self._position + len(out) - BODY_START, wanted - len(out))
            if not piece:
                break
            out += piece
        self._position += len(out)
        return bytes(out)

    def _piece(self, start: int, wanted: int) -> bytes:
        """Up to `wanted` octets from `start` on."""
        held_from, held = self._held
        if not held_from <= start < held_from + len(held):
            held_from, held = start, self._fetch(start, min(max(PIECE, wanted), self._length - start))
            self._held = (held_from, held)
        return held[start - held_from : start - held_from + wanted]


@dataclass(frozen=True, slots=True)
class Found:
    """A body that was looked up: `name` is what its tags are bound to, `length` what lies behind its header."""

    name: str
    key: bytes = field(repr=False)
    header: bytes
    length: int
    size: int
    fetch: Fetch
    first: bytes = field(default=b"", repr=False)

    def file(self) -> BinaryIO:
        """From its beginning."""
        return cast(BinaryIO, ObjectFile(self.header, self.length, self.fetch, self.first))

    def reader(self) -> "ObjectReader":
        """Waits for nobody."""
        return ObjectReader(self)


class ObjectReader:
    """A BodyReader; several may read at once."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self.size = found.size

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """From offset `start` on; each chunk is checked before it is given out. Pieces that are not here yet are waited for."""
        return read_body(self._found.file(), self._found.name, self._found.key, start, self.size)

    def close(self) -> None:
        """Nothing is open."""
