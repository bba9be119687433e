"""A spool in a folder: make, seal, open and remove objects; say when the disk is nearly full; sweep what nobody owns."""

import asyncio
import contextlib
import errno
import itertools
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.model.errors import Refusal, SluisError, SpoolError, SpoolUnavailable
from relay.model.message import Body
from relay.model.plain_json import json_text
from relay.model.ports import BodyHash
from relay.settings.models import Spool as SpoolSettings
from relay.store.spool.format import BODY_START, MAGIC, SLOT_SIZE, SLOTS, TRAILER, read_body, read_manifest, read_size, seal_manifest
from relay.store.spool.keys import SpoolKeys, key_id, load_keys, newest_slot, parse_slot
from relay.store.spool.ports import LocalObject
from relay.store.spool.replies import DISK_FULL, NO_FILES
from relay.store.spool.watermark import Watermark
from relay.store.spool.writer import FOLDER_MODE, SpoolWriter

SEALERS = 8  # fsyncs that run side by side; more gains nothing on one disk
SWEEP_PAGE = 500
FOLDER_SECONDS = 2**24 / 1000  # how long new objects go into one folder
FULL = (errno.ENOSPC, errno.EDQUOT)
EXHAUSTED = (errno.EMFILE, errno.ENFILE)
"""No descriptors, of the process or of the system: nothing was asked of the disk, so that nothing can have gone wrong on it."""


class SpoolFatal(SluisError):
    """A failed fsync: what is on the disk is unknown from here on, and asking again would lie (Rebello et al., USENIX ATC 2020).
    The process stops."""


class SpoolReader:
    """A BodyReader over one object."""

    def __init__(self, path: Path, name: str, key: bytes) -> None:
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise SpoolUnavailable(f"spool object {name}: {error.strerror}") from None
        self._name = name
        self._key = key
        try:
            self.size = read_size(self._file, name)
        except SpoolError:
            self._file.close()
            raise
        except OSError as error:
            self._file.close()
            raise SpoolUnavailable(f"spool object {name}: {error.strerror}") from None

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """From offset `start` on; each chunk is checked before it is given out."""
        try:
            yield from read_body(self._file, self._name, self._key, start)
        except OSError as error:  # a disk that can't be read just now has altered nothing
            raise SpoolUnavailable(f"spool object {self._name}: {error.strerror}") from None

    def close(self) -> None:
        self._file.close()


class FolderSpool:
    """A Spool in one folder, a file for each body (arguments: open.py). `sweep_page`: of how many names a sweep asks at once."""

    def __init__(
        self,
        settings: SpoolSettings,
        body_hash: Callable[[], BodyHash],
        keys: SpoolKeys | None = None,
        on_fatal: Callable[[str], None] | None = None,
        sweep_page: int = SWEEP_PAGE,
    ) -> None:
        self._settings = settings
        self._sweep_page = sweep_page
        self._folder = settings.folder
        self._body_hash = body_hash
        self._on_fatal = on_fatal
        self.keys = keys or self.read_keys()
        self._folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self._sealers = ThreadPoolExecutor(SEALERS, thread_name_prefix="seal")
        self._watermark = Watermark(settings)
        self._swept: dict[str, float] = {}

    def check(self) -> None:
        """A folder that we could make or open is there; what its disk refuses is told with the first body."""

    def read_keys(self) -> SpoolKeys:
        """The key files as they are now. Raises ConfigurationError."""
        return load_keys(self._settings.public_key, self._settings.private_keys)

    def path(self, name: str) -> Path:
        """A folder for each 4.7 hours: the first 6 hex digits of a UUIDv7."""
        return self._folder / name[:6] / name

    def create(self, identity: uuid.UUID) -> SpoolWriter:
        """A writer for a new body."""
        name = identity.hex
        return SpoolWriter(name, self.path(name), self.keys, self._body_hash(), self._settings.memory_body)

    async def seal(self, body: Body, manifest: dict[str, Any]) -> str:
        """Appends the encrypted manifest and makes the object durable. Raises Refusal where the disk is full, and the object is then gone;
        SpoolFatal where the disk did not sync."""
        await asyncio.get_running_loop().run_in_executor(self._sealers, self._seal, body, json_text(manifest).encode())
        return body.object

    def _seal(self, body: Body, manifest: bytes) -> None:
        sealed = seal_manifest(AESGCM(body.key), body.object, manifest)
        path = self.path(body.object)
        try:
            with path.open("ab", buffering=0) as file:
                _append(file, sealed + TRAILER.pack(body.size, len(sealed)))
                self._sync(file.fileno(), path)
            for folder in (path.parent, self._folder):
                self._sync_folder(folder)
        except OSError as error:
            if error.errno not in (*FULL, *EXHAUSTED):
                raise self._fatal(path, error) from error
            path.unlink(missing_ok=True)  # its key is nowhere else
            if error.errno in FULL:
                raise Refusal(DISK_FULL, f"the spool is full: {error}") from None
            raise Refusal(NO_FILES, f"the spool can open no file: {error}") from None

    def _sync(self, descriptor: int, path: Path) -> None:
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise self._fatal(path, error) from error

    def _sync_folder(self, folder: Path) -> None:
        """Raises OSError where there are no descriptors: nothing was asked of the disk."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            raise self._fatal(folder, error) from error
        try:
            self._sync(descriptor, folder)
        finally:
            os.close(descriptor)

    def _fatal(self, path: Path, error: OSError) -> SpoolFatal:
        reason = f"{path} could not be made durable: {error}"
        if self._on_fatal is not None:
            self._on_fatal(reason)
        return SpoolFatal(reason)

    def unlock(self, name: str) -> bytes:
        """The body key. Raises SpoolError: wiped or altered; SpoolUnavailable: missing, or for a private key that is not here."""
        try:
            with self.path(name).open("rb") as file:
                header = file.read(BODY_START)
        except OSError as error:
            raise SpoolUnavailable(f"spool object {name}: {error.strerror}") from None
        if header[: len(MAGIC)] != MAGIC:
            raise SpoolError(f"spool object {name}: not a spool object, or of a format that is not known")
        return self.keys.unwrap(newest_slot(header, name)[1], name)

    @asynccontextmanager
    async def local(self, body: Body) -> AsyncIterator[LocalObject]:
        """The file itself."""
        yield LocalObject(self.path(body.object), body.object, body.key or self.unlock(body.object))

    async def fetch(self, name: str, key: bytes | None = None) -> Callable[[], SpoolReader]:
        """A file is opened each time: that takes microseconds, and no thread."""
        return partial(self.open, name, key)

    def open(self, name: str, key: bytes | None = None) -> SpoolReader:
        """Needs the private key, unless that of the body is given."""
        return SpoolReader(self.path(name), name, key or self.unlock(name))

    def sealed(self, name: str) -> bool:
        """Whether the object has its end: only then it may have heard 250. Raises SpoolUnavailable."""
        try:
            with self.path(name).open("rb") as file:
                read_size(file, name)
                return True
        except SpoolError:
            return False
        except OSError as error:
            raise SpoolUnavailable(f"spool object {name}: {error.strerror}") from None

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest that was sealed with the body."""
        key = self.unlock(name)
        with self.path(name).open("rb") as file:
            value: dict[str, Any] = json.loads(read_manifest(file, name, key))
        return value

    def drop(self, body: Body) -> None:
        """As every other object: it is a file already."""
        self.discard(body.object)

    def discard(self, *names: str) -> None:
        """Wipes the key slots, and removes the files."""
        for path in map(self.path, names):
            with contextlib.suppress(FileNotFoundError):
                with path.open("r+b") as file:
                    self._put(file, SLOTS[0], bytes(2 * SLOT_SIZE))
                path.unlink()

    def _put(self, file: BinaryIO, position: int, data: bytes) -> None:
        """Durable when it returns."""
        file.seek(position)
        file.write(data)
        file.flush()
        self._sync(file.fileno(), Path(file.name))

    def rewrap(self, failed: Callable[[str, Exception], None]) -> int:
        """One object after another."""
        done = 0
        for name in self.names():
            try:
                done += self.rewrap_one(name)
            except (SpoolError, OSError) as error:
                failed(name, error)
        return done

    def rewrap_one(self, name: str) -> bool:
        """Wraps the body key to the present public key: the new slot is durable before the old one is wiped, and what a crash left of an
        earlier rewrap is wiped too. False: it was so already. Raises SpoolError."""
        try:
            with self.path(name).open("r+b") as file:
                header = file.read(BODY_START)
                index, slot = newest_slot(header, name)
                generation, identity, _, _ = parse_slot(slot)
                other = SLOTS[1 - index]
                if identity != key_id(self.keys.public):
                    self._put(file, other, self.keys.wrap(self.keys.unwrap(slot, name), name, generation + 1))
                    self._put(file, SLOTS[index], bytes(SLOT_SIZE))
                elif any(header[other : other + SLOT_SIZE]):
                    self._put(file, other, bytes(SLOT_SIZE))
                else:
                    return False
        except FileNotFoundError as error:
            raise SpoolError(f"spool object {name}: {error.strerror}") from None
        return True

    def names(self) -> Iterator[str]:
        """Every object, older folders first. What is added or removed meanwhile may be left out, or named though it is gone."""
        for folder in self._folders():
            with os.scandir(folder) as entries:
                yield from (entry.name for entry in entries)

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if path.is_dir())

    def full(self) -> bool:
        """Whether RCPT should hear 452: above the watermark, or less than the reserve left. Looked up once a second."""
        return self._watermark.full()

    def free_bytes(self) -> int:
        """What is left on the disk."""
        return self._watermark.free_bytes()

    def sweep(self, known: Callable[[Iterable[str]], set[str]], older_than_seconds: float) -> int:
        """Removes objects without a row that are older than the longest session, so that no live process is still at them, and folders that
        have become empty. `known` gives those of the names (at most `sweep_page` at once) that have a row. Gives how many were removed.
        A folder that nothing can come into any more is looked through once by a process, and again only where it has changed."""
        now = time.time()
        removed = 0
        for folder in self._folders():
            changed = folder.stat().st_mtime
            if self._swept.get(folder.name) == changed:
                continue
            young = 0

            def old(entries: Iterable["os.DirEntry[str]"]) -> Iterator[str]:
                nonlocal young
                for entry in entries:
                    if _modified(entry) < now - older_than_seconds:
                        yield entry.name
                    else:
                        young += 1

            with os.scandir(folder) as entries:
                names = old(entries)
                while page := list(itertools.islice(names, self._sweep_page)):
                    orphans = set(page) - known(page)
                    for name in orphans:
                        self.discard(name)
                    removed += len(orphans)
            if changed < now - max(older_than_seconds, 2 * FOLDER_SECONDS):
                try:
                    folder.rmdir()  # which refuses one that is not empty
                    self._swept.pop(folder.name, None)
                except OSError:
                    if not young:
                        self._swept[folder.name] = changed
        return removed

    def close(self) -> None:
        self._sealers.shutdown()


def _append(file: FileIO, data: bytes) -> None:
    """All of it: an unbuffered write may be a short one."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _modified(entry: os.DirEntry[str]) -> float:
    """Seconds since 1970; what is gone meanwhile is nothing to sweep."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
