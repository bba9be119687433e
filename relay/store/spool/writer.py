"""One body on its way into the spool: encrypted, hashed and counted while it streams by."""

import hashlib
import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.model.message import Body
from relay.model.ports import BodyHash
from relay.store.spool.format import BODY_START, CHUNK, MAGIC, SLOT_SIZE, SLOTS, seal_chunk, seal_chunks
from relay.store.spool.keys import SpoolKeys

# As far as the umask lets it (relay/cli/serve.py): the group is for a relay in two services under users of their own, of which one writes
# and the other reads, rewraps and removes.
FILE_MODE = 0o660
FOLDER_MODE = 0o770


class SpoolWriter:
    """A BodyWriter. A body up to `held` octets (not more than `memory_body`, up to which it is kept for inspection and a first delivery)
    is in memory only, and is encrypted when it is sealed, with others. The file of a larger one is made with the first chunk that is full,
    or at the end: a refused HELO costs no file."""

    def __init__(self, name: str, path: Path, keys: SpoolKeys, body_hash: BodyHash, memory_body: int, held: int = 0) -> None:
        self._name = name
        self._path = path
        self._key = AESGCM.generate_key(256)
        self._cipher = AESGCM(self._key)
        self._header = _header(keys.wrap(self._key, name))
        self._digest = hashlib.sha256()
        self._body_hash = body_hash
        self._pending = bytearray()
        self._kept: list[bytes] | None = []
        self._memory_body = memory_body
        self._held = min(held, memory_body)
        self._streams = not self._held
        self._size = 0
        self._counter = 0
        self._file: int | None = None

    def write(self, chunk: bytes) -> None:
        """Raises OSError where the disk refuses."""
        self._digest.update(chunk)
        self._body_hash.update(chunk)
        self._size += len(chunk)
        if not self._streams and self._size > self._held:
            self._streams = True
            self._pending += b"".join(self._kept or ())
        if self._kept is not None:
            if self._size > self._memory_body:
                self._kept = None
            else:
                self._kept.append(bytes(chunk))
        if not self._streams:
            return
        self._pending += chunk
        if len(self._pending) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        full = len(self._pending) // CHUNK
        with memoryview(self._pending) as pending:
            sealed = seal_chunks(self._cipher, self._name, self._counter, pending[: full * CHUNK])
        self._counter += full
        del self._pending[: full * CHUNK]
        self._append(sealed)

    def finish(self, normalised: bool) -> Body:
        """The last chunk, which says that it is the last. Not yet durable."""
        if self._streams:
            self._append(seal_chunk(self._cipher, self._name, self._counter, bytes(self._pending), True))
            self._pending.clear()
            self._close()
        return Body(
            object=self._name,
            size=self._size,
            digest=self._digest.hexdigest(),
            body_hash=self._body_hash.base64(),
            key=self._key,
            bytes=b"".join(self._kept) if self._kept is not None else None,
            normalised=normalised,
            arriving=None if self._streams else self._header,
        )

    def discard(self) -> None:
        """Removes the file; the key was nowhere else."""
        self._close()
        self._path.unlink(missing_ok=True)

    def _append(self, data: bytes | bytearray) -> None:
        if self._file is None:
            self._file = made(self._path)
            data = self._header + data
        append(self._file, data)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def made(path: Path) -> int:
    """A descriptor of a new file. Its folder is there but for the first body of some hours."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, FILE_MODE)
    except FileNotFoundError:
        path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        return os.open(path, flags, FILE_MODE)


def append(descriptor: int, data: bytes | bytearray) -> None:
    """All of it: a write may be a short one."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _header(slot: bytes) -> bytes:
    header = bytearray(BODY_START)
    header[: len(MAGIC)] = MAGIC
    header[SLOTS[0] : SLOTS[0] + SLOT_SIZE] = slot
    return bytes(header)
