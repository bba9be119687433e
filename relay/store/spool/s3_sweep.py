"""Orphans in an object store: bodies that no row names, and halves of packs that a crash left.

Looking at a pack costs a request, and there are millions of them. An orphan is made by a crash between the PUT and the commit, or between
the commit that erases and the DELETE. The first is found soon, for every pack is looked at once when it is old enough; the second later:
each run goes through some more of the old ones, from the oldest on, and begins again at the end.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from relay.store.spool.bucket import Bucket
from relay.store.spool.indexes import THREADS, Indexes
from relay.store.spool.pack import BODY, FOLDER, KEYS

BEGIN_SECONDS = 4 * 3600.0
"""How far back a process looks at first: another may have looked before it, and was stopped."""
OLD_PACKS = 1000
"""Old packs in one run: 24,000 a day, for a cent."""
PAGE = 200

Known = Callable[[Iterable[str]], set[str]]


class S3Sweep:
    """What one process has looked at stands in its memory only. `old_packs`: how many old ones one run looks at."""

    def __init__(self, bucket: Bucket, indexes: Indexes, old_packs: int = OLD_PACKS) -> None:
        self._bucket = bucket
        self._indexes = indexes
        self._old_packs = old_packs
        self._new_from: str | None = None
        self._old_from = ""

    def run(self, known: Known, older_than_seconds: float) -> int:
        """Gives how many bodies were removed. Raises SpoolUnavailable, and begins there the next time."""
        now = time.time()
        before = now - older_than_seconds
        end = _first_pack(before)
        begin = self._new_from or _first_pack(before - BEGIN_SECONDS)
        removed = self._through(itertools.takewhile(lambda pack: pack[0] < end, self._packs(begin)), known, before)
        self._new_from = end
        old = list(itertools.islice(itertools.takewhile(lambda pack: pack[0] < begin, self._packs(self._old_from)), self._old_packs))
        removed += self._through(iter(old), known, before)
        self._old_from = old[-1][0] if len(old) == self._old_packs else ""
        return removed

    def _packs(self, after: str) -> Iterator[tuple[str, float]]:
        """From behind `after`, each once with its last change, halves of packs too."""
        names = self._bucket.names(FOLDER, f"{FOLDER}{after}{KEYS}" if after else "")
        for pack, halves in itertools.groupby(names, lambda found: found[0].removeprefix(FOLDER).partition(".")[0]):
            yield pack, max(changed for _, changed in halves)

    def _through(self, packs: Iterator[tuple[str, float]], known: Known, before: float) -> int:
        """An id is made by the clock of a machine, which may be wrong: the store's must agree that a pack is of `before`."""
        removed = 0
        old = (pack for pack, changed in packs if changed < before)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="sweep") as threads:
            while page := list(itertools.islice(old, PAGE)):
                found = list(threads.map(self._indexes.names_of, page))
                # Octets whose keys are gone, or never came.
                self._bucket.delete([f"{FOLDER}{pack}{BODY}" for pack, names in zip(page, found, strict=True) if names == []])
                names = [name for names in found for name in names or ()]
                orphans: set[str] = set()
                for start in range(0, len(names), PAGE):
                    some = names[start : start + PAGE]
                    orphans |= set(some) - known(some)
                self._indexes.erase(orphans)
                removed += len(orphans)
        return removed


def _first_pack(seconds: float) -> str:
    """The lowest id of a pack that was made at this time (seconds since 1970; RFC 9562 §5.7)."""
    return uuid.UUID(int=max(0, int(seconds * 1000)) << 80).hex
