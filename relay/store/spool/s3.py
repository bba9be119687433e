"""A spool in an S3-compatible object store: small bodies in packs (pack.py), a large one in a pack of its own.

The folder of the settings is used only for bodies too large for memory, until they are in the store; nothing of a machine is needed to
read what another has written.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.model.errors import ConfigurationError, Refusal, SpoolUnavailable
from relay.model.ids import new_id
from relay.model.message import Body
from relay.model.plain_json import json_text
from relay.model.ports import BodyHash
from relay.settings.models import Spool as SpoolSettings
from relay.store.spool import pack
from relay.store.spool.arriving import Arriving, ArrivingWriter
from relay.store.spool.bucket import PART, Bucket, Missing
from relay.store.spool.format import BODY_START, SLOT_SIZE, SLOTS, TRAILER, read_manifest, read_size, seal_manifest
from relay.store.spool.indexes import Indexes
from relay.store.spool.keys import SpoolKeys, load_keys
from relay.store.spool.object_file import PIECE, Found, ObjectReader
from relay.store.spool.pack import BODY, FOLDER, KEYS, Entry
from relay.store.spool.packer import Packer, both
from relay.store.spool.ports import LocalObject
from relay.store.spool.replies import DISK_FULL, NOT_NOW
from relay.store.spool.s3_sweep import S3Sweep
from relay.store.spool.watermark import Watermark
from relay.store.spool.writer import FOLDER_MODE

log = logging.getLogger("sluis.spool")
PACKED = 256 * 1024
"""Octets up to which a body shares its object, with their memory until it is there: as many as are inspected from memory. Twenty bodies of
137 KB at once take half the processor time in packs that they take alone (measured against Ceph; docs/spool.md)."""
PACKS_AT_ONCE = 2
LARGE_AT_ONCE = 4
"""Bodies that are sent up by themselves at the same time: each takes up to two parts of 5 MiB in memory."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A body that is to become durable, as it stands behind its header."""

    identity: UUID
    slot: bytes
    octets: bytes = field(repr=False)


class S3Spool:
    """A Spool (arguments: open.py)."""

    def __init__(self, settings: SpoolSettings, body_hash: Callable[[], BodyHash], keys: SpoolKeys | None = None) -> None:
        if settings.s3 is None:
            raise ConfigurationError(["spool.s3 is not set"])
        self._settings = settings
        self._body_hash = body_hash
        self._bucket = Bucket(settings.s3)
        self._packer = Packer(self._put_pack, PACKS_AT_ONCE)
        self._uploads = ThreadPoolExecutor(LARGE_AT_ONCE, thread_name_prefix="upload")
        self._watermark = Watermark(settings)
        self._indexes = Indexes(self._bucket)
        self._sweep = S3Sweep(self._bucket, self._indexes)
        self.keys = keys or self.read_keys()
        settings.folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)

    def check(self) -> None:
        """Raises StoreError."""
        self._bucket.check()

    def read_keys(self) -> SpoolKeys:
        """The key files as they are now. Raises ConfigurationError."""
        return load_keys(self._settings.public_key, self._settings.private_keys)

    def create(self, identity: UUID) -> ArrivingWriter:
        """A writer for a new body."""
        arriving = Arriving(self._settings.folder, PACKED)
        return ArrivingWriter(identity.hex, arriving, self.keys, self._body_hash(), self._settings.memory_body)

    async def seal(self, body: Body, manifest: dict[str, Any]) -> str:
        """Raises Refusal: the local disk is full, or the store did not take it."""
        header, arriving = _arriving(body)
        sealed = seal_manifest(AESGCM(body.key), body.object, json_text(manifest).encode())
        slot = header[SLOTS[0] : SLOTS[0] + SLOT_SIZE]
        try:
            arriving.append(sealed + TRAILER.pack(body.size, len(sealed)))
            if arriving.in_memory:
                name = await self._packer.add(Sealed(UUID(body.object), slot, arriving.octets()))
                arriving.close()
                return name
            upload = partial(self._seal_large, UUID(body.object), slot, arriving)
            return await asyncio.get_running_loop().run_in_executor(self._uploads, upload)
        except SpoolUnavailable as error:
            log.error("a body could not be kept", extra={"fields": {"message": body.object, "error": str(error)}})
            raise Refusal(NOT_NOW, f"the body could not be kept: {error}") from None
        except OSError as error:
            raise Refusal(DISK_FULL, f"the spool is full: {error}") from None

    async def _put_pack(self, batch: list[Sealed]) -> list[str]:
        """Raises SpoolUnavailable."""
        name = new_id().hex
        entries, offset = [], 0
        for sealed in batch:
            entries.append(Entry(sealed.identity, offset, len(sealed.octets), sealed.slot))
            offset += len(sealed.octets)
        await both(
            self._bucket.put_soon(f"{FOLDER}{name}{BODY}", b"".join(sealed.octets for sealed in batch)),
            self._bucket.put_soon(f"{FOLDER}{name}{KEYS}", pack.encode(entries)),
        )
        return [pack.joined(name, sealed.identity) for sealed in batch]

    def _seal_large(self, identity: UUID, slot: bytes, arriving: Arriving) -> str:
        """In a thread of `_uploads`."""
        path = f"{FOLDER}{identity.hex}{BODY}"
        if arriving.size <= PART:
            self._bucket.put(path, arriving.octets())
        else:
            self._bucket.put_pieces(path, arriving.pieces())
        self._bucket.put(f"{FOLDER}{identity.hex}{KEYS}", pack.encode([Entry(identity, 0, arriving.size, slot)]))
        arriving.close()
        return identity.hex

    @asynccontextmanager
    async def local(self, body: Body) -> AsyncIterator[LocalObject]:
        """What is not sealed yet is here; what is comes as a file without a name, for as long as it is needed."""
        if body.arriving is not None:
            _, arriving = _arriving(body)
            yield LocalObject(await asyncio.to_thread(arriving.path), body.object, body.key)
            return
        found = await asyncio.to_thread(self._found, body.object)
        copy = Arriving(self._settings.folder, 0)
        try:
            await asyncio.to_thread(_copy, found, copy)
            yield LocalObject(copy.path(), found.name, found.key)
        finally:
            copy.close()

    async def fetch(self, name: str, key: bytes | None = None) -> Callable[[], ObjectReader]:
        """A small body is here then; of a large one its first MiB, and the rest is fetched by whoever reads it, in a thread."""
        return (await asyncio.to_thread(self._found, name, key)).reader

    def open(self, name: str) -> ObjectReader:
        """Needs the private key."""
        return self._found(name).reader()

    def _found(self, name: str, key: bytes | None = None) -> Found:
        pack_id, identity = pack.split(name)
        entry = self._indexes.entry(pack_id, identity)
        key = key or self.keys.unwrap(entry.slot, identity.hex)

        def fetch(start: int, length: int) -> bytes:
            return self._bucket.get_range(f"{FOLDER}{pack_id}{BODY}", entry.offset + start, length)

        first = fetch(0, min(PIECE, entry.length))
        found = Found(identity.hex, key, entry.header, entry.length, 0, fetch, first)
        size = read_size(found.file(), identity.hex)
        return Found(identity.hex, key, entry.header, entry.length, size, fetch, first)

    def sealed(self, name: str) -> bool:
        """Whether its pack is whole, as far as this body needs it."""
        pack_id, identity = pack.split(name)
        entry = self._indexes.entry(pack_id, identity)
        try:
            return self._bucket.size(f"{FOLDER}{pack_id}{BODY}") >= entry.offset + entry.length
        except Missing:
            return False

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest that was sealed with the body."""
        found = self._found(name)
        value: dict[str, Any] = json.loads(read_manifest(found.file(), found.name, found.key))
        return value

    def discard(self, *names: str) -> None:
        """Takes the entries out of their indexes, and removes a pack of which nobody needs anything more."""
        self._indexes.erase(names)

    def drop(self, body: Body) -> None:
        """It is nowhere but here."""
        _arriving(body)[1].close()

    def rewrap(self, failed: Callable[[str, Exception], None]) -> int:
        """Pack by pack."""
        return self._indexes.rewrap(self.keys, failed)

    def names(self, failed: Callable[[str, Exception], None] | None = None) -> Iterator[str]:
        """Pack by pack: a request for each."""
        for pack_id in self._indexes.packs():
            yield from self._indexes.names_of(pack_id, failed) or ()

    def sweep(self, known: Callable[[Iterable[str]], set[str]], older_than_seconds: float) -> int:
        """New packs, and some of the old ones each time (s3_sweep.py)."""
        return self._sweep.run(known, older_than_seconds)

    def full(self) -> bool:
        """The local disk: large bodies pass through it."""
        return self._watermark.full()

    def free_bytes(self) -> int:
        """On the local disk."""
        return self._watermark.free_bytes()

    def close(self) -> None:
        self._uploads.shutdown()
        self._indexes.close()


def _arriving(body: Body) -> tuple[bytes, Arriving]:
    """Header and octets of a body that is not sealed yet."""
    assert isinstance(body.arriving, tuple)
    header, arriving = body.arriving
    assert isinstance(arriving, Arriving)
    return header, arriving


def _copy(found: Found, copy: Arriving) -> None:
    file = found.file()
    file.seek(BODY_START)
    while piece := file.read(PIECE):
        copy.append(piece)
