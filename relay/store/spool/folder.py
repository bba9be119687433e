"""A spool in a folder: make, seal, open and remove objects; say when the disk is nearly full; sweep what nobody owns."""

import asyncio
import contextlib
import io
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.model.errors import SpoolError, SpoolUnavailable
from relay.model.ids import new_id
from relay.model.message import Body
from relay.model.plain_json import json_text
from relay.model.ports import BodyHash
from relay.settings.models import Spool as SpoolSettings
from relay.store.spool import folder_pack
from relay.store.spool.arriving import PIECE, Arriving
from relay.store.spool.durable import Durable, SpoolFatal
from relay.store.spool.folder_pack import UNFINISHED, Failed, PackFile, names_in, object_file, open_object
from relay.store.spool.folder_reader import SpoolReader
from relay.store.spool.folder_sweep import SWEEP_PAGE, FolderSweep
from relay.store.spool.format import (
    BODY_START,
    MAGIC,
    SLOT_SIZE,
    SLOTS,
    TRAILER,
    read_manifest,
    read_size,
    seal_manifest,
)
from relay.store.spool.held import Held
from relay.store.spool.keys import SpoolKeys, key_id, load_keys, newest_slot, parse_slot
from relay.store.spool.pack import split
from relay.store.spool.packer import Packer
from relay.store.spool.ports import LocalObject
from relay.store.spool.watermark import Watermark
from relay.store.spool.writer import FOLDER_MODE, SpoolWriter

__all__ = ["FolderSpool", "SpoolFatal", "SpoolReader"]

SEALERS = 8  # fsyncs that run side by side; more gains nothing on one disk
PACKED = 256 * 1024
"""Octets up to which a body waits in memory until it is sealed, together with others of its moment: as many as are inspected from memory
as it is."""
PACKS_AT_ONCE = 1


class FolderSpool:
    """A Spool in one folder: a file for each body, or for those that were sealed in one moment (arguments: open.py). `sweep_page`: of how
    many names a sweep asks at once; `packed`: up to how many octets a body is in memory until it is sealed."""

    def __init__(
        self,
        settings: SpoolSettings,
        body_hash: Callable[[], BodyHash],
        keys: SpoolKeys | None = None,
        on_fatal: Callable[[str], None] | None = None,
        sweep_page: int = SWEEP_PAGE,
        packed: int = PACKED,
    ) -> None:
        self._settings = settings
        self._packed = packed
        self._folder = settings.folder
        self._body_hash = body_hash
        self._durable = Durable(self._folder, on_fatal)
        self._packer = Packer(self._put, PACKS_AT_ONCE)
        self.keys = keys or self.read_keys()
        self._folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self._sealers = ThreadPoolExecutor(SEALERS, thread_name_prefix="seal")
        self._watermark = Watermark(settings)
        self._sweep = FolderSweep(self.discard, sweep_page)

    def check(self) -> None:
        """A folder that we could make or open is there; what its disk refuses is told with the first body."""

    def read_keys(self) -> SpoolKeys:
        """The key files as they are now. Raises ConfigurationError."""
        return load_keys(self._settings.public_key, self._settings.private_keys)

    def path(self, name: str) -> Path:
        """The file that a body lies in. A folder for each 4.7 hours: the first 6 hex digits of a UUIDv7."""
        return object_file(self._folder, name)

    def create(self, identity: uuid.UUID) -> SpoolWriter:
        """A writer for a new body."""
        name = identity.hex
        return SpoolWriter(name, self.path(name), self.keys, self._body_hash(), self._settings.memory_body, self._packed)

    async def seal(self, body: Body, manifest: dict[str, Any]) -> str:
        """Small bodies that come while others are being sealed are sealed together. Raises Refusal where the disk is full, and what
        was to be sealed is then gone; SpoolFatal where the disk did not sync."""
        text = json_text(manifest).encode()
        if body.arriving is not None:
            return await self._packer.add(Held.of(body, text))
        await asyncio.get_running_loop().run_in_executor(self._sealers, self._seal, body, text)
        return body.object

    def _seal(self, body: Body, manifest: bytes) -> None:
        sealed = seal_manifest(AESGCM(body.key), body.object, manifest)
        self._durable.end(self.path(body.object), sealed + TRAILER.pack(body.size, len(sealed)))

    async def _put(self, batch: list[Held]) -> list[str]:
        return await asyncio.get_running_loop().run_in_executor(self._sealers, self._seal_together, batch)

    def _seal_together(self, batch: list[Held]) -> list[str]:
        """One that is alone has a file of its own."""
        if len(batch) == 1:
            name = batch[0].identity.hex
            self._durable.whole(self.path(name), batch[0].sealed())
            return [name]
        path = self.path(f"{new_id().hex}/")
        octets = folder_pack.encode([(held.identity, held.sealed()) for held in batch])
        self._durable.renamed(path.with_suffix(UNFINISHED), octets, path)
        return [f"{path.stem}/{held.identity.hex}" for held in batch]

    def _object(self, name: str, mode: str = "rb") -> BinaryIO:
        return open_object(self._folder, name, mode)

    def unlock(self, name: str) -> bytes:
        """The body key. Raises SpoolError: wiped or altered; SpoolUnavailable: missing, or for a private key that is not here."""
        try:
            with self._object(name) as file:
                header = file.read(BODY_START)
        except OSError as error:
            raise SpoolUnavailable(f"spool object {name}: {error.strerror}") from None
        if header[: len(MAGIC)] != MAGIC:
            raise SpoolError(f"spool object {name}: not a spool object, or of a format that is not known")
        return self.keys.unwrap(newest_slot(header, name)[1], _bound(name))

    @asynccontextmanager
    async def local(self, body: Body) -> AsyncIterator[LocalObject]:
        """The file itself; of what is in memory or in a pack a copy without a name."""
        key = body.key or self.unlock(body.object)
        if body.arriving is None and "/" not in body.object:
            yield LocalObject(self.path(body.object), body.object, key)
            return
        copy = Arriving(self._folder, 0)
        try:
            await asyncio.to_thread(self._copy, body, copy)
            yield LocalObject(copy.path(), _bound(body.object), key)
        finally:
            copy.close()

    def _copy(self, body: Body, copy: Arriving) -> None:
        """What stands behind the header. Raises SpoolUnavailable, SpoolError."""
        try:
            with io.BytesIO(Held.of(body, b"").sealed()) if body.arriving is not None else self._object(body.object) as file:
                file.seek(BODY_START)
                while piece := file.read(PIECE):
                    copy.append(piece)
        except OSError as error:
            raise SpoolUnavailable(f"spool object {body.object}: {error.strerror}") from None

    async def fetch(self, name: str, key: bytes | None = None) -> Callable[[], SpoolReader]:
        """A file is opened each time: that takes microseconds, and no thread."""
        return partial(self.open, name, key)

    def open(self, name: str, key: bytes | None = None) -> SpoolReader:
        """Needs the private key, unless that of the body is given."""
        key = key or self.unlock(name)
        try:
            return SpoolReader(self._object(name), _bound(name), key)
        except OSError as error:
            raise SpoolUnavailable(f"spool object {name}: {error.strerror}") from None

    def sealed(self, name: str) -> bool:
        """Whether the object has its end: only then it may have heard 250. Raises SpoolUnavailable; SpoolError for one in a pack, which
        gets its name when it is whole."""
        try:
            with self._object(name) as file:
                read_size(file, name)
                return True
        except SpoolError:
            if "/" in name:
                raise
            return False
        except OSError as error:
            raise SpoolUnavailable(f"spool object {name}: {error.strerror}") from None

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest that was sealed with the body."""
        key = self.unlock(name)
        with self._object(name) as file:
            value: dict[str, Any] = json.loads(read_manifest(file, _bound(name), key))
        return value

    def drop(self, body: Body) -> None:
        """It is a file already, or nowhere but in memory."""
        if body.arriving is None:
            self.discard(body.object)

    def discard(self, *names: str) -> None:
        """Wipes the key slots, and removes the files; a pack when nothing is left in it. Raises SpoolError where a pack is damaged: what
        else was named is gone then."""
        packs: dict[Path, list[uuid.UUID]] = {}
        for name in names:
            if "/" in name:
                packs.setdefault(self.path(name), []).append(split(name)[1])
                continue
            path = self.path(name)
            with contextlib.suppress(FileNotFoundError):
                with path.open("r+b") as file:
                    self._write_at(file, SLOTS[0], bytes(2 * SLOT_SIZE))
                path.unlink()
        damaged = [error for path, identities in packs.items() if (error := self._erase(path, identities)) is not None]
        if damaged:
            raise damaged[0]

    def _erase(self, path: Path, identities: list[uuid.UUID]) -> SpoolError | None:
        """Gives what is wrong with the pack."""
        try:
            with PackFile(path, "r+b") as pack:
                pack.wipe(identities)
                self._durable.sync(pack.fileno(), path)
                if next(pack.left(), None) is None:
                    path.unlink()
        except FileNotFoundError:
            return None
        except SpoolError as error:
            return error
        return None

    def _write_at(self, file: BinaryIO, position: int, data: bytes) -> None:
        """Durable when it returns."""
        file.seek(position)
        file.write(data)
        file.flush()
        self._durable.sync(file.fileno(), Path(file.name))

    def rewrap(self, failed: Callable[[str, Exception], None]) -> int:
        """One object after another."""
        done = 0
        for name in self.names(failed):
            try:
                done += self.rewrap_one(name)
            except (SpoolError, OSError) as error:
                failed(name, error)
        return done

    def rewrap_one(self, name: str) -> bool:
        """Wraps the body key to the present public key: the new slot is durable before the old one is wiped, and what a crash left of an
        earlier rewrap is wiped too. False: it was so already. Raises SpoolError."""
        bound = _bound(name)
        try:
            with self._object(name, "r+b") as file:
                header = file.read(BODY_START)
                index, slot = newest_slot(header, name)
                generation, identity, _, _ = parse_slot(slot)
                other = SLOTS[1 - index]
                if identity != key_id(self.keys.public):
                    self._write_at(file, other, self.keys.wrap(self.keys.unwrap(slot, bound), bound, generation + 1))
                    self._write_at(file, SLOTS[index], bytes(SLOT_SIZE))
                elif any(header[other : other + SLOT_SIZE]):
                    self._write_at(file, other, bytes(SLOT_SIZE))
                else:
                    return False
        except FileNotFoundError as error:
            raise SpoolError(f"spool object {name}: {error.strerror}") from None
        return True

    def names(self, failed: Failed | None = None) -> Iterator[str]:
        """Every object, older folders first. What is added or removed meanwhile may be left out, or named though it is gone."""
        for folder in self._folders():
            yield from names_in(folder, failed)

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if path.is_dir())

    def full(self) -> bool:
        """Whether RCPT should hear 452: above the watermark, or less than the reserve left. Looked up once a second."""
        return self._watermark.full()

    def free_bytes(self) -> int:
        """What is left on the disk."""
        return self._watermark.free_bytes()

    def sweep(self, known: Callable[[Iterable[str]], set[str]], older_than_seconds: float) -> int:
        """Old folders that have not changed are looked through once (folder_sweep.py)."""
        return self._sweep.run(self._folders(), known, older_than_seconds)

    def close(self) -> None:
        self._sealers.shutdown()


def _bound(name: str) -> str:
    """What the tags of a body are bound to, wherever it lies: the id of its message."""
    return name.rpartition("/")[2]
