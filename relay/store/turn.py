"""Turns at an SQLite file that several processes of one machine write to."""

import fcntl
import os
from pathlib import Path

from relay.settings.ownership import give, make_folder


class Turn:
    """One writes at a time. SQLite has a lock of its own, but who finds it taken looks again after 1 to 100 ms, and may look in vain for
    long (SQLite documentation, sqlite3_busy_timeout); this one wakes whoever waits (flock(2)), and is given up by a process that dies.
    With it comes what has been submitted meanwhile, so that more meets in one commit. One thread of a process uses it."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".turn")
        folder = make_folder(path.parent)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give(path, folder)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)
