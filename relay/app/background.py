"""What runs beside the road: sees what other processes changed, counts the balance, sweeps orphans."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

from sqlalchemy import Connection, select

from relay.app.in_force import InForce
from relay.model.errors import SluisError
from relay.model.ports import Clock
from relay.phases import change
from relay.receive.rates import DAY_US
from relay.record.adoption import Adoption
from relay.road import Alert
from relay.settings.models import Settings
from relay.store import states
from relay.store.counters import Counters
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.spool import Spool
from relay.store.tables import Message

log = logging.getLogger("sluis.app")
SWEEP_SECONDS = 3600.0
REFRESH_SECONDS = 1.0
MESSAGE = Message.__table__  # type: ignore[attr-defined]


class Background:
    """The tasks of one process; `owner` names it in events. A store that is away ends none of them."""

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
    ) -> None:
        self._settings = settings
        self._in_force = in_force
        self._journal = journal
        self._reader = reader
        self._spool = spool
        self._counters = counters
        self._adoption = adoption
        self._clock = clock
        self._alert = alert
        self._owner = owner
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, *, delivers: bool) -> None:
        """Balance and sweep are for the process that delivers."""
        self._run(self._refresh())
        if delivers:
            self._run(self._sweep())
            self._run(self._balance())

    def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refresh(self) -> None:
        """Sees what other processes changed."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            with contextlib.suppress(SluisError):
                await self._in_force.refresh()

    async def _balance(self) -> None:
        """Promise 14: what does not add up is an alarm, and nothing more leaves until a person has looked."""
        while True:
            await asyncio.sleep(self._settings.delivery.balance)
            with contextlib.suppress(SluisError):
                found = await self._reader.read(states.balance)
                if not found.holds:
                    self._alert("balance", difference=found.difference, balance=str(found))
                    reason = f"the balance does not hold: {found}"
                    await self._journal.submit(partial(change.pull_brake, actor=self._owner, reason=reason, now_us=self._clock.now_us()))
                    await self._in_force.refresh()

    async def _sweep(self) -> None:
        """Orphans: bodies that no row names, older than the longest session; receipts that nobody asked for again within a day."""
        longest = max((listener.session_timeout for listener in self._settings.listeners), default=3600.0)
        while True:
            removed = await asyncio.to_thread(self._spool.sweep, self._known, 2 * longest)
            if removed:
                log.info("orphans swept from the spool", extra={"fields": {"removed": removed}})
            with contextlib.suppress(SluisError):
                await self._counters.flush(self._clock.now_us() - 2 * DAY_US)
                await self._adoption.sweep(self._reader)
            await asyncio.sleep(SWEEP_SECONDS)

    def _known(self, names: Iterable[str]) -> set[str]:
        wanted = list(names)

        def look(connection: Connection) -> set[str]:
            return {
                name
                for start in range(0, len(wanted), 500)
                for (name,) in connection.execute(
                    select(MESSAGE.c.spool_object).where(MESSAGE.c.spool_object.in_(wanted[start : start + 500]))
                )
            }

        return self._reader.read_now(look)
