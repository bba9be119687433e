"""What runs beside the road: sees what other processes changed, watches the balance, brings back what was held, sweeps orphans."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from relay.app.balance_watch import BalanceWatch
from relay.app.clock_watch import ClockWatch, database_now_us
from relay.app.folder_watch import FolderWatch
from relay.app.high_water_watch import HighWaterWatch
from relay.app.in_force import InForce
from relay.app.jobs import Jobs
from relay.app.kept_up import kept_up
from relay.app.recall import Recall
from relay.app.rule_notices import RuleNotices
from relay.control.retention import Retention
from relay.judge import Alert
from relay.model.errors import SluisError
from relay.model.ports import Clock
from relay.receive.rates import DAY_US
from relay.record.adoption import Adoption
from relay.settings.models import Settings
from relay.store import far_ahead
from relay.store.counters import Counters
from relay.store.journal import Journal
from relay.store.owned import owned
from relay.store.reader import Reader
from relay.store.spool.ports import Spool
from relay.store.tables import Message

log = logging.getLogger("sluis.app")
SWEEP_SECONDS = 3600.0
FIRST_RETENTION_SECONDS = 600.0
REFRESH_SECONDS = 0.5
"""What another process changed is in force here within two seconds: this, a read, and the building of a policy."""
MEND_SECONDS = 60.0
FAR = 3
"""Times the longest step of the schedule, or a lease: no right clock writes an attempt or a lease that is so far ahead."""
LATE_SECONDS = 60.0
"""A message whose decision was taken just before the epoch changed is in the record this long after the end of its inspection at most."""
MESSAGE = Message.__table__  # type: ignore[attr-defined]


class Background:
    """The tasks of one process; `owner` names it in events, `wake` tells whoever delivers. A store that is away ends none of them."""

    def __init__(
        self,
        settings: Settings,
        in_force: InForce,
        journal: Journal,
        reader: Reader,
        spool: Spool,
        counters: Counters,
        adoption: Adoption,
        clock: Clock,
        alert: Alert,
        owner: str,
        wake: Callable[[], None],
        jobs: Jobs,
        clock_watch: ClockWatch,
        rule_notices: RuleNotices,
    ) -> None:
        self._settings = settings
        self._in_force = in_force
        self._journal = journal
        self._reader = reader
        self._spool = spool
        self._counters = counters
        self._adoption = adoption
        self._clock = clock
        self._owner = owner
        self._jobs = jobs
        self._wake = wake
        self._clock_watch = clock_watch
        self._rule_notices = rule_notices
        self.balance_watch = BalanceWatch(journal, reader, in_force, alert, clock, settings.delivery, owner, jobs)
        late = settings.inspection.deadline + LATE_SECONDS
        self.recall = Recall(journal, reader, clock, in_force, int(settings.delivery.expiry * 1e6), wake, late)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, high_water: HighWaterWatch | None, folder_watch: FolderWatch | None = None) -> None:
        """All but the refresh is for the process that delivers: the one that has a high-water mark."""
        self._run(self._refresh)
        self._run(self._clock_watch.run)
        if high_water is not None:
            self._run(high_water.run)
            self._run(partial(self._sweep, high_water))
            self._run(self._mend)
            self._run(self.balance_watch.run)
            self._run(self.recall.run)
            self._run(self._rule_notices.run)
            if folder_watch is not None:
                self._run(folder_watch.run)
            if self._settings.retention.body_days is not None or self._settings.retention.record_days is not None:
                self._run(self._retain)

    def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(kept_up(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refresh(self) -> None:
        """Sees what other processes changed."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            with contextlib.suppress(SluisError):
                await self._in_force.refresh()

    async def _mend(self) -> None:
        """By the clock of the database where it has one: this machine's may have been put back in this moment."""
        while True:
            with contextlib.suppress(SluisError):
                await self.mend()
            await asyncio.sleep(MEND_SECONDS)

    async def mend(self) -> int:
        """Brings back what a wrong clock put off. Gives how many. Raises StoreError."""
        delivery = self._settings.delivery
        now_us = await self._reader.read(database_now_us) or self._clock.now_us()
        limit_us = now_us + int(FAR * max(*delivery.schedule, delivery.lease, MEND_SECONDS) * 1e6)
        if not await self._reader.read(partial(far_ahead.found, limit_us=limit_us)):
            return 0
        lease_us = int(delivery.lease * 1e6)
        mended = await self._journal.submit(partial(far_ahead.mend, now_us=now_us, lease_us=lease_us, limit_us=limit_us))
        log.warning("a clock was wrong: what it put off is due now", extra={"fields": {"deliveries": mended}})
        self._wake()
        return mended

    async def _sweep(self, high_water: HighWaterWatch) -> None:
        """Orphans: bodies that no row names, older than the longest session, unless their rows may have been lost; receipts that nobody
        asked for again within a day."""
        longest = max((listener.session_timeout for listener in self._settings.listeners), default=3600.0)
        while True:
            with contextlib.suppress(SluisError, OSError):
                await self._counters.flush(self._clock.now_us() - 2 * DAY_US)
                if await self._jobs.mine("sweep", SWEEP_SECONDS):
                    await self._sweep_once(high_water, longest)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _sweep_once(self, high_water: HighWaterWatch, longest: float) -> None:
        gaps = await high_water.gaps()

        def known(names: Iterable[str]) -> set[str]:
            return self._reader.read_now(partial(owned, names=list(names), gaps=gaps))

        removed = await asyncio.to_thread(self._spool.sweep, known, 2 * longest)
        if removed:
            log.info("orphans swept from the spool", extra={"fields": {"removed": removed}})
        await self._adoption.sweep(self._reader)

    async def _retain(self) -> None:
        """What the settings no longer keep; not at once, for there is enough to do at a start."""
        every = self._settings.retention.every
        await asyncio.sleep(min(every, FIRST_RETENTION_SECONDS))
        while True:
            who = (self._owner, "process", "the time in the settings is over")
            run = Retention(self._journal, self._reader, self._spool, self._clock, self._settings.retention, who)
            with contextlib.suppress(SluisError, OSError):  # a disk that is away ends nothing: the next turn goes on
                counts = await run.run() if await self._jobs.mine("retention", every) else {}
                if counts:
                    log.info("erased what is no longer kept", extra={"fields": dict(counts)})
            await asyncio.sleep(every)
