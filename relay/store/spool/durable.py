"""Makes bodies durable in a folder: files, then the folders that name them. A full disk is a refusal; a sync that fails is the end."""

import contextlib
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

from relay.model.errors import Refusal, SluisError
from relay.store.spool.replies import DISK_FULL, NO_FILES
from relay.store.spool.writer import append, made

log = logging.getLogger("sluis.spool")
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

    def end(self, path: Path, data: bytes) -> None:
        """The last octets of a file that is there."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                append(descriptor, data)
                self.sync(descriptor, path)
            finally:
                os.close(descriptor)
            self._sync_folders(path.parent)
        except OSError as error:
            raise self._refused(path, error) from error

    def whole(self, path: Path, data: bytes) -> None:
        """A new file. Raises FileExistsError."""
        self._new(path, data)
        try:
            self._sync_folders(path.parent)
        except OSError as error:
            raise self._refused(path, error) from error

    def renamed(self, path: Path, data: bytes, target: Path) -> None:
        """A new file that has its name once all of it is there. Raises FileExistsError."""
        self._new(path, data)
        try:
            path.rename(target)
            self._sync_folders(path.parent)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise self._refused(path, error) from error

    def _new(self, path: Path, data: bytes) -> None:
        """Until it is synced nothing of it can be lost unseen: whatever else the disk refuses is no end."""
        try:
            descriptor = made(path)
        except FileExistsError:
            raise  # what is there stays as it is
        except OSError as error:
            raise self._unwritten(path, error) from error
        try:
            append(descriptor, data)
            self.sync(descriptor, path)
        except OSError as error:
            raise self._unwritten(path, error) from error
        finally:
            os.close(descriptor)

    def _unwritten(self, path: Path, error: OSError) -> Refusal:
        log.error("the spool refused a write", extra={"fields": {"error": str(error)}})
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # its keys are nowhere else
        return _refusal(error)

    def _refused(self, path: Path, error: OSError) -> SluisError:
        """A file that is there, and perhaps not wholly: what is neither room nor descriptors is the end."""
        if error.errno not in (*FULL, *EXHAUSTED):
            return self._fatal(path, error)
        path.unlink(missing_ok=True)
        return _refusal(error)

    def sync(self, descriptor: int, path: Path) -> None:
        """What was written to it."""
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise self._fatal(path, error) from error

    def _sync_folders(self, folder: Path) -> None:
        """Raises OSError where there are no descriptors: nothing was asked of the disk."""
        for one in (folder, self._folder):
            self._sync_folder(one)

    def _sync_folder(self, folder: Path) -> None:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            raise self._fatal(folder, error) from error
        try:
            self.sync(descriptor, folder)
        finally:
            os.close(descriptor)

    def _fatal(self, path: Path, error: OSError) -> SpoolFatal:
        reason = f"{path} could not be made durable: {error}"
        if self._on_fatal is not None:
            self._on_fatal(reason)
        return SpoolFatal(reason)


def _refusal(error: OSError) -> Refusal:
    if error.errno in EXHAUSTED:
        return Refusal(NO_FILES, f"the spool can open no file: {error}")
    return Refusal(DISK_FULL, f"the spool is full, or refuses: {error}")
