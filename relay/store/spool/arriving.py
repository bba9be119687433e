"""A body on its way to an object store: encrypted in memory, and beyond a limit in a local file without a name."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from relay.model.message import Body
from relay.model.ports import BodyHash
from relay.store.spool.format import BODY_START
from relay.store.spool.keys import SpoolKeys
from relay.store.spool.writer import SpoolWriter

PIECE = 1024 * 1024


class Arriving:
    """What stands behind the header. The file has room for a header, so that it is read as one of a folder; it has no name, and is gone
    with the process, whatever ends that."""

    def __init__(self, folder: Path, memory: int) -> None:
        """`memory`: octets beyond which the file is made."""
        self._folder = folder
        self._memory = memory
        self._held: list[bytes] = []
        self._file: int | None = None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Raises OSError where the disk refuses."""
        if self._file is None and self.size + len(data) > self._memory:
            self._spill()
        if self._file is None:
            self._held.append(data)
            self.size += len(data)
        else:
            self._write(self._file, data)

    def _write(self, file: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(file, view, BODY_START + self.size)
            self.size += written
            view = view[written:]

    def _spill(self) -> None:
        held, self._held, self.size = self._held, [], 0
        self._file = nameless(self._folder)
        for data in held:
            self._write(self._file, data)

    @property
    def in_memory(self) -> bool:
        return self._file is None

    def octets(self) -> bytes:
        """All of it, for what is small."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces of at most 1 MiB where it is in a file."""
        if self._file is None:
            yield from self._held
            return
        position = 0
        while position < self.size:
            piece = os.pread(self._file, min(PIECE, self.size - position), BODY_START + position)
            if not piece:
                raise OSError("a local file is shorter than what was written to it")
            position += len(piece)
            yield piece

    def path(self) -> Path:
        """For a process that is handed a descriptor: it can be opened as long as this object lives, and in this process only. Raises
        OSError."""
        if self._file is None:
            self._spill()
        return Path(f"/proc/self/fd/{self._file}")

    def close(self) -> None:
        """May be called twice."""
        self._held = []
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        """Whoever was refused, or whose client went away, leaves nothing open."""
        with contextlib.suppress(OSError):
            self.close()


class ArrivingWriter(SpoolWriter):
    """A SpoolWriter whose octets go there; the header is made when the object is sealed, from the slot."""

    def __init__(self, name: str, arriving: Arriving, keys: SpoolKeys, body_hash: BodyHash, memory_body: int) -> None:
        super().__init__(name, Path(), keys, body_hash, memory_body)
        self._arriving = arriving

    def finish(self, normalised: bool) -> Body:
        """The last chunk. Not yet durable."""
        return replace(super().finish(normalised), arriving=(self._header, self._arriving))

    def discard(self) -> None:
        """Lets go of what was written; the key was nowhere else."""
        self._arriving.close()

    def _append(self, data: bytes | bytearray) -> None:
        self._arriving.append(bytes(data))


def nameless(folder: Path) -> int:
    """A descriptor of a new file that no other process can find. Raises OSError."""
    descriptor, path = tempfile.mkstemp(dir=folder)
    os.unlink(path)  # noqa: PTH108 - the one call that is about the name just made
    return descriptor
