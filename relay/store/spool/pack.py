"""A pack: the bodies of several messages as one object, and beside it a small one that says where each lies and holds its key slot.

`packs/ID.body`   what stands behind the header in a folder's file (format.py): body, manifest, trailer; one message after another
`packs/ID.keys`   the index:
    0     magic and version (16 octets)
    16    an entry of 168 octets for each body: message id (16), offset and length in the other object (8 each), key slot (136)
    end   SHA-256 of all before it

The first is written once. Rotation writes the second anew; erasing a body takes its entry out of it, and with that the only copy of its
key. A body's name is `ID/MESSAGE`, both in hex, or `MESSAGE` where it stands alone in a pack of its own id, as in a folder. Ids are
UUIDv7, so that packs are listed in the order in which they were made.
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from relay.model.errors import SpoolError
from relay.store.spool.format import BODY_START, MAGIC, SLOT_SIZE, SLOTS

INDEX_MAGIC = b"sluis-pack\x00\x00\x00\x00\x00\x01"
_ENTRY = struct.Struct(f">16sQQ{SLOT_SIZE}s")
_CHECK = 32
FOLDER = "packs/"
BODY, KEYS = ".body", ".keys"


@dataclass(frozen=True, slots=True)
class Entry:
    """One body: where it lies in its pack, and its wrapped key. `identity` is the message's."""

    identity: UUID
    offset: int
    length: int
    slot: bytes

    @property
    def header(self) -> bytes:
        """As it stands before the body in a folder's file."""
        return header_with(self.slot)

    def with_slot(self, slot: bytes) -> Self:
        """The same body under a key that was wrapped anew."""
        return type(self)(self.identity, self.offset, self.length, slot)


def header_with(slot: bytes) -> bytes:
    """The header of an object with this one slot."""
    header = bytearray(BODY_START)
    header[: len(MAGIC)] = MAGIC
    header[SLOTS[0] : SLOTS[0] + SLOT_SIZE] = slot
    return bytes(header)


def encode(entries: Iterable[Entry]) -> bytes:
    """An index."""
    data = INDEX_MAGIC + b"".join(_ENTRY.pack(e.identity.bytes, e.offset, e.length, e.slot) for e in entries)
    return data + hashlib.sha256(data).digest()


def decode(data: bytes, pack: str) -> dict[UUID, Entry]:
    """Its entries by message id. Raises SpoolError."""
    body, check = data[:-_CHECK], data[-_CHECK:]
    if body[: len(INDEX_MAGIC)] != INDEX_MAGIC or hashlib.sha256(body).digest() != check:
        raise SpoolError(f"pack {pack}: its index is altered, cut short, or of a format that is not known")
    entries = body[len(INDEX_MAGIC) :]
    if len(entries) % _ENTRY.size:
        raise SpoolError(f"pack {pack}: its index is cut short")
    found = (Entry(UUID(bytes=identity), *rest) for identity, *rest in _ENTRY.iter_unpack(entries))
    return {entry.identity: entry for entry in found}


def split(name: str) -> tuple[str, UUID]:
    """Pack and message of a body's name. Raises SpoolError."""
    pack, _, identity = name.partition("/")
    try:
        return UUID(pack).hex, UUID(identity or pack)
    except ValueError:
        raise SpoolError(f"spool object {name}: not a name in an object store") from None


def joined(pack: str, identity: UUID) -> str:
    """The name of a body."""
    return identity.hex if pack == identity.hex else f"{pack}/{identity.hex}"
