"""The spool folder: make, seal, open and remove objects; say when the disk is nearly full; sweep what nobody owns."""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.model.errors import SluisError, SpoolError
from relay.model.message import Body
from relay.model.ports import BodyHash
from relay.settings.models import Spool as SpoolSettings
from relay.store.spool.format import BODY_START, MAGIC, SLOT_SIZE, SLOTS, TRAILER, read_body, read_manifest, read_size, seal_manifest
from relay.store.spool.keys import SpoolKeys, load_keys, parse_slot
from relay.store.spool.writer import SpoolWriter

WATERMARK_SECONDS = 1.0
SEALERS = 8  # fsyncs that run side by side; more gains nothing on one disk


class SpoolFatal(SluisError):
    """A failed fsync: what is on the disk is unknown from here on, and asking again would lie (Rebello et al., USENIX ATC 2020). The
    process stops.
    """


class SpoolReader:
    """A BodyReader over one object."""

    def __init__(self, path: Path, name: str, key: bytes) -> None:
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise SpoolError(f"spool object {name}: {error.strerror}") from None
        self._name = name
        self._key = key
        self.size = read_size(self._file, name)

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """From offset `start` on; each chunk is checked before it is given out."""
        return read_body(self._file, self._name, self._key, start)

    def close(self) -> None:
        self._file.close()


class Spool:
    """One folder of objects. `body_hash` makes a fresh hash for each body."""

    def __init__(self, settings: SpoolSettings, body_hash: Callable[[], BodyHash], keys: SpoolKeys | None = None) -> None:
        self._settings = settings
        self._folder = settings.folder
        self._body_hash = body_hash
        self.keys = keys or load_keys(settings.public_key, settings.private_keys)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sealers = ThreadPoolExecutor(SEALERS, thread_name_prefix="seal")
        self._full = (0.0, False)

    def path(self, name: str) -> Path:
        """A folder for each 4.7 hours: the first 6 hex digits of a UUIDv7."""
        return self._folder / name[:6] / name

    def create(self, identity: uuid.UUID) -> SpoolWriter:
        """A writer for a new body."""
        name = identity.hex
        return SpoolWriter(name, self.path(name), self.keys, self._body_hash(), self._settings.memory_body)

    async def seal(self, body: Body, manifest: dict[str, Any]) -> None:
        """Appends the encrypted manifest and makes the object durable. Raises SpoolFatal where the disk did not sync."""
        await asyncio.get_running_loop().run_in_executor(self._sealers, self._seal, body, json.dumps(manifest).encode())

    def _seal(self, body: Body, manifest: bytes) -> None:
        sealed = seal_manifest(AESGCM(body.key), body.object, manifest)
        path = self.path(body.object)
        try:
            with path.open("ab") as file:
                file.write(sealed + TRAILER.pack(body.size, len(sealed)))
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(path.parent)
            _sync_folder(self._folder)
        except OSError as error:
            raise SpoolFatal(f"spool object {body.object} could not be made durable: {error}") from error

    def unlock(self, name: str) -> bytes:
        """The body key. Raises SpoolError: missing, wiped, altered, or for a private key that is not here."""
        try:
            with self.path(name).open("rb") as file:
                header = file.read(BODY_START)
        except OSError as error:
            raise SpoolError(f"spool object {name}: {error.strerror}") from None
        if header[: len(MAGIC)] != MAGIC:
            raise SpoolError(f"spool object {name}: not a spool object, or of a format that is not known")
        return self.keys.unwrap(_newest_slot(header, name), name)

    def open(self, name: str) -> SpoolReader:
        """Needs the private key."""
        return SpoolReader(self.path(name), name, self.unlock(name))

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest that was sealed with the body."""
        key = self.unlock(name)
        with self.path(name).open("rb") as file:
            value: dict[str, Any] = json.loads(read_manifest(file, name, key))
        return value

    def discard(self, name: str) -> None:
        """Wipes the key slots, so that the body is gone whatever the disk keeps, and removes the file."""
        path = self.path(name)
        try:
            with path.open("r+b") as file:
                file.seek(SLOTS[0])
                file.write(bytes(2 * SLOT_SIZE))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return

    def rewrap(self, name: str) -> bool:
        """Wraps the body key to the present public key: the new slot is durable before the old one is wiped. False: it was so already."""
        with self.path(name).open("r+b") as file:
            header = file.read(BODY_START)
            slot = _newest_slot(header, name)
            generation, identity, _, _ = parse_slot(slot)
            from_index = 0 if header[SLOTS[0] : SLOTS[0] + SLOT_SIZE] == slot else 1
            fresh = self.keys.wrap(self.keys.unwrap(slot, name), name, generation + 1)
            if parse_slot(fresh)[1] == identity:
                return False
            for index, data in ((1 - from_index, fresh), (from_index, bytes(SLOT_SIZE))):
                file.seek(SLOTS[index])
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        return True

    def names(self) -> Iterator[str]:
        """Every object, oldest first."""
        for folder in sorted(self._folder.iterdir()):
            if folder.is_dir():
                yield from sorted(path.name for path in folder.iterdir())

    def full(self) -> bool:
        """Whether RCPT should hear 452: above the watermark, or less than the reserve left. Looked up once a second."""
        now = time.monotonic()
        if now - self._full[0] > WATERMARK_SECONDS:
            state = os.statvfs(self._folder)
            used = 100 * (1 - state.f_bavail / max(state.f_blocks, 1))
            self._full = (now, used > self._settings.full_percent or state.f_bavail * state.f_frsize < self._settings.reserve)
        return self._full[1]

    def free_bytes(self) -> int:
        """What is left on the disk."""
        state = os.statvfs(self._folder)
        return state.f_bavail * state.f_frsize

    def sweep(self, known: Callable[[Iterable[str]], set[str]], older_than_seconds: float) -> int:
        """Removes objects without a row that are older than the longest session. `known` gives those of the names that have a row."""
        horizon = time.time() - older_than_seconds
        removed = 0
        for folder in sorted(self._folder.iterdir()):
            old = [path for path in folder.iterdir() if path.stat().st_mtime < horizon] if folder.is_dir() else []
            owned = known(path.name for path in old) if old else set()
            for path in old:
                if path.name not in owned:
                    self.discard(path.name)
                    removed += 1
        return removed

    def close(self) -> None:
        self._sealers.shutdown()


def _newest_slot(header: bytes, name: str) -> bytes:
    """The sound slot of the highest generation: a rotation that was cut short leaves the old one."""
    found: list[tuple[int, bytes]] = []
    for start in SLOTS:
        slot = header[start : start + SLOT_SIZE]
        try:
            found.append((parse_slot(slot)[0], slot))
        except SpoolError:
            continue
    if not found:
        raise SpoolError(f"spool object {name}: both key slots are damaged or wiped")
    return max(found)[1]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
