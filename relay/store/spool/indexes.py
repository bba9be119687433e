"""The indexes of packs, each an object of its own: read, and written anew when a body is erased or a key rotated.

Several machines may do so at once: an index is put back only if it is still the one that was read (If-Match), so that no entry that was
erased comes back.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

from relay.model.errors import SpoolError, SpoolUnavailable
from relay.store.spool import pack
from relay.store.spool.bucket import Bucket, Changed, Missing
from relay.store.spool.keys import SpoolKeys, key_id, parse_slot
from relay.store.spool.pack import BODY, FOLDER, KEYS, Entry

log = logging.getLogger("sluis.spool")
THREADS = 8  # requests side by side where many packs are gone through
CHANGED_TRIES = 30  # an index that somebody else has changed is read again
CHANGED_SECONDS = 0.1
Entries = dict[UUID, Entry]


class Erased(SpoolError):
    """A pack has no such body any more."""


class Indexes:
    """All of a bucket. Methods wait for the network, and raise SpoolUnavailable."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")

    def entry(self, pack_id: str, identity: UUID) -> Entry:
        """Where a body is. Raises SpoolError: it was erased, or the index is altered; Missing."""
        try:
            return self._read(pack_id)[0][identity]
        except KeyError:
            raise Erased(f"spool object {pack.joined(pack_id, identity)}: it was erased") from None

    def _read(self, pack_id: str) -> tuple[Entries, str]:
        data, tag = self._bucket.get(f"{FOLDER}{pack_id}{KEYS}")
        return pack.decode(data, pack_id), tag

    def packs(self) -> Iterator[str]:
        """The ids of all, older ones first."""
        for name, _ in self._bucket.names(FOLDER):
            if name.endswith(KEYS):
                yield name.removeprefix(FOLDER).removesuffix(KEYS)

    def names_of(self, pack_id: str, failed: Callable[[str, Exception], None] | None = None) -> list[str] | None:
        """Every body in a pack, none where the index is gone; None where it can't be understood, which is logged where nobody wants to
        hear of it."""
        try:
            return [pack.joined(pack_id, identity) for identity in self._read(pack_id)[0]]
        except Missing:
            return []
        except SpoolUnavailable:
            raise
        except SpoolError as error:
            if failed is not None:
                failed(pack_id, error)
            else:
                log.error("the index of a pack is damaged", extra={"fields": {"pack": pack_id, "error": str(error)}})
            return None

    def erase(self, names: Iterable[str]) -> None:
        """Takes entries out, and removes a pack of which nobody needs anything more."""
        packs: dict[str, set[UUID]] = {}
        for name in names:
            pack_id, identity = pack.split(name)
            packs.setdefault(pack_id, set()).add(identity)
        empty = [pack_id for pack_id in self._threads.map(lambda item: self._erase(*item), packs.items()) if pack_id is not None]
        # The keys first: what a crash leaves of a pack then opens nothing.
        self._bucket.delete([f"{FOLDER}{pack_id}{KEYS}" for pack_id in empty])
        self._bucket.delete([f"{FOLDER}{pack_id}{BODY}" for pack_id in empty])

    def _erase(self, pack_id: str, identities: set[UUID]) -> str | None:
        """Gives the pack where nothing is left in it."""

        def without(entries: Entries) -> Entries:
            return {identity: entry for identity, entry in entries.items() if identity not in identities}

        try:
            return None if self._rewrite(pack_id, without) else pack_id
        except Missing:
            return pack_id

    def rewrap(self, keys: SpoolKeys, failed: Callable[[str, Exception], None]) -> int:
        """One PUT for all keys of a pack. Gives how many bodies."""
        return sum(self._threads.map(partial(self._rewrap, keys, failed), self.packs()))

    def _rewrap(self, keys: SpoolKeys, failed: Callable[[str, Exception], None], pack_id: str) -> int:
        done: list[UUID] = []

        def rewrapped(entries: Entries) -> Entries:
            done.clear()
            changed = {}
            for identity, entry in entries.items():
                changed[identity] = entry
                try:
                    generation, wrapped_to, _, _ = parse_slot(entry.slot)
                    if wrapped_to != key_id(keys.public):
                        key = keys.unwrap(entry.slot, identity.hex)
                        changed[identity] = entry.with_slot(keys.wrap(key, identity.hex, generation + 1))
                        done.append(identity)
                except SpoolError as error:
                    failed(pack.joined(pack_id, identity), error)
            return changed

        try:
            self._rewrite(pack_id, rewrapped)
        except Missing:
            return 0
        except SpoolError as error:
            failed(pack_id, error)
            return 0
        return len(done)

    def _rewrite(self, pack_id: str, change: Callable[[Entries], Entries]) -> Entries:
        """What is left. An index in which nothing is left stays as it is. Raises Missing, SpoolError."""
        for _ in range(CHANGED_TRIES - 1):
            try:
                return self._rewrite_once(pack_id, change)
            except Changed:
                time.sleep(random.uniform(0, CHANGED_SECONDS))  # noqa: S311 - so that the two don't meet again
        return self._rewrite_once(pack_id, change)

    def _rewrite_once(self, pack_id: str, change: Callable[[Entries], Entries]) -> Entries:
        entries, tag = self._read(pack_id)
        changed = change(entries)
        if changed and changed != entries:
            self._bucket.replace(f"{FOLDER}{pack_id}{KEYS}", pack.encode(changed.values()), tag)
        return changed

    def close(self) -> None:
        self._threads.shutdown()
