"""Orphans in a folder: bodies that no row names, and packs that a crash left unfinished."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from relay.store.spool.folder_pack import SUFFIX, UNFINISHED, names_of

SWEEP_PAGE = 500
AGAIN_SECONDS = 86_400.0
"""What a crash leaves in an old folder (between the commit that erases a body and the wiping of its key) may be another process's, of which
a folder does not tell: after so long every folder is looked through again."""
FOLDER_SECONDS = 2**24 / 1000  # how long new objects go into one folder


class FolderSweep:
    """What one process has looked at stands in its memory only. `discard` removes a body; `page`: of how many names is asked at once;
    `again`: seconds after which everything is looked at once more."""

    def __init__(self, discard: Callable[[str], None], page: int, again: float = AGAIN_SECONDS) -> None:
        self._discard = discard
        self._page = page
        self._looked: dict[str, float] = {}
        self._again = again
        self._began = time.monotonic()

    def run(self, folders: Iterable[Path], known: Callable[[Iterable[str]], set[str]], older_than_seconds: float) -> int:
        """Removes objects without a row that are older than the longest session, so that no live process is still at them, and folders that
        have become empty. `known` gives those of the names that have a row. Gives how many were removed.
        A folder that nothing can come into any more is looked through once by a process, and again where it has changed, or after a day."""
        now = time.time()
        if time.monotonic() - self._began > self._again:
            self._looked.clear()
            self._began = time.monotonic()
        removed = 0
        for folder in folders:
            changed = folder.stat().st_mtime
            if self._looked.get(folder.name) == changed:
                continue
            with os.scandir(folder) as entries:
                old = _Old(entries, now - older_than_seconds)
                names = _bodies(folder, old)
                while page := list(itertools.islice(names, self._page)):
                    orphans = set(page) - known(page)
                    for name in orphans:
                        self._discard(name)
                    removed += len(orphans)
            if changed < now - max(older_than_seconds, 2 * FOLDER_SECONDS):
                try:
                    folder.rmdir()  # which refuses one that is not empty
                    self._looked.pop(folder.name, None)
                except OSError:
                    if not old.young:
                        self._looked[folder.name] = changed
        return removed


def _bodies(folder: Path, files: Iterable[str]) -> Iterator[str]:
    """What lies in these files of a folder; what a crash left of a pack goes: nobody was told of it."""
    for name in files:
        if name.endswith(UNFINISHED):
            (folder / name).unlink(missing_ok=True)
        elif name.endswith(SUFFIX):
            yield from names_of(folder / name)
        else:
            yield name


class _Old:
    """The names of those files that were last changed before `before` (seconds since 1970); `young` counts the others."""

    def __init__(self, entries: Iterable["os.DirEntry[str]"], before: float) -> None:
        self._entries = entries
        self._before = before
        self.young = 0

    def __iter__(self) -> Iterator[str]:
        for entry in self._entries:
            if _modified(entry) < self._before:
                yield entry.name
            else:
                self.young += 1


def _modified(entry: "os.DirEntry[str]") -> float:
    """Seconds since 1970; what is gone meanwhile is nothing to sweep."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
