"""Work that one process does for all machines: balance, sweep, retention."""

import logging
from collections.abc import Callable
from functools import partial

from relay.model.ports import Clock
from relay.store import jobs
from relay.store.journal import Journal

log = logging.getLogger("sluis.app")
PATIENCE = 1.5
"""Of the time between two turns: after that another process takes the job over."""


class Jobs:
    """`alone`: there can be no other process, so that everything is ours. `wrong`: the clock of this machine is, so that nothing is: it
    would sweep and erase what is new, and keep a job for itself until its own time has come."""

    def __init__(self, journal: Journal, clock: Clock, owner: str, *, alone: bool, wrong: Callable[[], bool] = lambda: False) -> None:
        self._journal = journal
        self._clock = clock
        self._owner = owner
        self._alone = alone
        self._wrong = wrong
        self._taken: set[str] = set()

    async def mine(self, job: str, every: float) -> bool:
        """Whether this process does the next turn of a job that has one every so many seconds. Raises StoreError."""
        if self._wrong():
            return False
        if self._alone:
            return True
        for_us = int(PATIENCE * every * 1e6)
        taken = await self._journal.submit(partial(jobs.take, job=job, owner=self._owner, now_us=self._clock.now_us(), for_us=for_us))
        if taken:
            self._taken.add(job)
        return taken

    async def release(self) -> None:
        """At a stop: the next process, perhaps the same after a restart, need not wait for our time to end. Raises StoreError."""
        for job in self._taken:
            await self._journal.submit(partial(jobs.release, job=job, owner=self._owner, now_us=self._clock.now_us()))
        self._taken.clear()
