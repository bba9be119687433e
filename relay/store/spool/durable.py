"""Makes bodies durable in a folder: files, then the folders that name them. A full disk is a refusal; a sync that fails is the end."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from relay.model.errors import Refusal, SluisError
from relay.store.spool.replies import DISK_FULL, NO_FILES
from relay.store.spool.writer import append, made

FULL = (errno.ENOSPC, errno.EDQUOT)
EXHAUSTED = (errno.EMFILE, errno.ENFILE)
"""No descriptors, of the process or of the system: nothing was asked of the disk, so that nothing can have gone wrong on it."""


class SpoolFatal(SluisError):
    """A failed fsync: what is on the disk is unknown from here on, and asking again would lie (Rebello et al., USENIX ATC 2020).
    The process stops."""


class Durable:
    """Methods wait for the disk. Raise SpoolFatal, and Refusal where the disk is full or there are no descriptors: what was to be kept is
    gone then."""

    def __init__(self, folder: Path, on_fatal: Callable[[str], None] | None) -> None:
        self._folder = folder
        self._on_fatal = on_fatal
        self._named: tuple[Path, int] | None = None

    def end(self, path: Path, data: bytes) -> None:
        """The last octets of a file that is there."""
        self._keep(path, os.O_WRONLY | os.O_APPEND, data, path)

    def whole(self, path: Path, data: bytes) -> None:
        """A new file. Raises FileExistsError."""
        self._keep(path, None, data, path)

    def renamed(self, path: Path, data: bytes, target: Path) -> None:
        """A new file that has its name once all of it is there."""
        self._keep(path, None, data, target)

    def _keep(self, path: Path, flags: int | None, data: bytes, target: Path) -> None:
        try:
            descriptor = made(path) if flags is None else os.open(path, flags | os.O_CLOEXEC)
            try:
                append(descriptor, data)
                self.sync(descriptor, path)
            finally:
                os.close(descriptor)
            if target != path:
                path.rename(target)
            self._sync_folders(path.parent)
        except FileExistsError:
            raise  # what is there stays as it is
        except OSError as error:
            if error.errno not in (*FULL, *EXHAUSTED):
                raise self._fatal(path, error) from error
            for name in {path, target}:
                name.unlink(missing_ok=True)  # its keys are nowhere else
            if error.errno in FULL:
                raise Refusal(DISK_FULL, f"the spool is full: {error}") from None
            raise Refusal(NO_FILES, f"the spool can open no file: {error}") from None

    def sync(self, descriptor: int, path: Path) -> None:
        """What was written to it."""
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise self._fatal(path, error) from error

    def _sync_folders(self, folder: Path) -> None:
        """The one above it once: until it is made anew, it is named there. Raises OSError where there are no descriptors."""
        named = folder, self._sync_folder(folder)
        if named != self._named:
            self._sync_folder(self._folder)
            self._named = named

    def _sync_folder(self, folder: Path) -> int:
        """Gives its inode."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            raise self._fatal(folder, error) from error
        try:
            self.sync(descriptor, folder)
            return os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)

    def _fatal(self, path: Path, error: OSError) -> SpoolFatal:
        reason = f"{path} could not be made durable: {error}"
        if self._on_fatal is not None:
            self._on_fatal(reason)
        return SpoolFatal(reason)
