"""Replay as a whole: slices of the record, decided by several processes side by side, and added up."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from relay.model.errors import ConfigurationError, StoreError
from relay.policy.models import Policy
from relay.rehearsal.replay import pages
from relay.rehearsal.replay.again import Again
from relay.rehearsal.replay.counts import Counts
from relay.rehearsal.replay.pages import Slice
from relay.settings.models import Store
from relay.store.engine import open_to_read
from relay.store.reader import Reader
from relay.store.schema import check_version

Progress = Callable[[str, int, int], None]
AHEAD = 2
"""Slices that wait for each process."""
NICE = 10
COLLECTED_AT = 20_000
"""Objects that a worker makes between two collections. Rows and facts refer to each other in no circle, so that there is little to find:
with Python's own 700 a seventh of the time goes there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Of which time (microseconds since 1970 UTC, `until_us` exclusive), and how it is decided. `phase`: as if it had held; None: as
    recorded. `limit`: messages that are listed for each difference. `whom`: they name sender and recipient. `newest`: no more messages
    than this, the newest."""

    since_us: int | None = None
    until_us: int | None = None
    phase: str | None = None
    limit: int = 20
    whom: bool = False
    newest: int | None = None


def replay(
    store: Store, policy: Policy, asked: Asked, processes: int = 1, progress: Progress | None = None, *, apart: bool = False
) -> Counts:
    """Decides the recorded traffic of a time under `policy`. With one process in this one, but for `apart`, where this one has other work.
    Raises StoreError, ConfigurationError."""
    if asked.phase is not None and asked.phase not in policy.organisation.phases:
        raise ConfigurationError([f"no phase is named '{asked.phase}'; there are {', '.join(policy.organisation.phases)}"])
    total = Counts(asked.limit)
    tell = progress or (lambda what, done, of: None)
    with _reader(store, check=True) as reader:
        tell("looking", 0, 1)
        since_us = asked.since_us
        if asked.newest is not None:
            since_us = pages.since_newest(reader, since_us, asked.until_us, asked.newest)
        total.erased = pages.erased(reader, since_us, asked.until_us)
        parts = pages.slices(reader, since_us, asked.until_us)
        number = sum(part.number for part in parts)
        tell("deciding", 0, number)
        here = min(processes, len(parts)) <= 1 and not apart
        for found in _here(reader, policy, asked, parts) if here else _there(store, policy, asked, parts, processes):
            total.add(found)
            tell("deciding", min(total.messages, number), number)
    return total


@contextmanager
def _reader(store: Store, check: bool = False) -> Iterator[Reader]:
    engine = open_to_read(store)
    try:
        if check:
            check_version(engine)
        reader = Reader(engine, 1)
        try:
            yield reader
        finally:
            reader.close()
    finally:
        engine.dispose()


def _here(reader: Reader, policy: Policy, asked: Asked, parts: list[Slice]) -> Iterator[Counts]:
    again = Again(policy, asked.phase, asked.whom)
    for part in parts:
        yield _decide(reader, again, part, asked.limit)


def _decide(reader: Reader, again: Again, part: Slice, limit: int) -> Counts:
    counts = Counts(limit)
    for message, deliveries in pages.messages(reader, part):
        again.message(message, deliveries, counts)
    return counts


def _there(store: Store, policy: Policy, asked: Asked, parts: list[Slice], processes: int) -> Iterator[Counts]:
    """A process is made new and not forked: this one may have threads, and connections that a child must not share."""
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_start, initargs=(store, policy, asked)) as pool:
        waiting: set[Future[Counts]] = set()
        left = iter(parts)
        try:
            while True:
                while len(waiting) < processes * AHEAD and (part := next(left, None)) is not None:
                    waiting.add(pool.submit(_work, part))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise StoreError(
                "a process that decided ended by itself: is the machine out of memory? (--processes 1 needs the least)"
            ) from None
        finally:
            for future in waiting:
                future.cancel()


_worker: tuple[Reader, Again, int] | None = None


def _start(store: Store, policy: Policy, asked: Asked) -> None:
    """In a process of its own, behind mail that comes in meanwhile; Ctrl-C is for the one that asked."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    gc.freeze()  # nothing of what is loaded by now becomes rubbish: a collection looks at it no more
    gc.set_threshold(COLLECTED_AT)
    _worker = Reader(open_to_read(store), 1), Again(policy, asked.phase, asked.whom), asked.limit


def _work(part: Slice) -> Counts:
    assert _worker is not None
    reader, again, limit = _worker
    return _decide(reader, again, part, limit)
