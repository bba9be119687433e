"""Promise 14 watched: the running counts often, every row now and then. What does not add up is an alert, and pulls the brake."""

import asyncio
import contextlib
import threading
import time
from functools import partial

from relay.app.in_force import InForce
from relay.app.jobs import Jobs
from relay.judge import Alert
from relay.model.errors import SluisError
from relay.model.ports import Clock
from relay.phases import change
from relay.settings.models import Delivery
from relay.store import states
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.states import Balance


class BalanceWatch:
    """`recounted` is the balance as it was when the rows were counted last, None before that."""

    def __init__(
        self, journal: Journal, reader: Reader, in_force: InForce, alert: Alert, clock: Clock, settings: Delivery, owner: str, jobs: Jobs
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._in_force = in_force
        self._alert = alert
        self._clock = clock
        self._settings = settings
        self._owner = owner
        self._jobs = jobs
        self._stopping = threading.Event()
        self._recount_at = 0.0
        self.recounted: Balance | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        self._stopping.clear()
        try:
            while True:
                await asyncio.sleep(self._settings.balance)
                with contextlib.suppress(SluisError):
                    mine = await self._jobs.mine("balance", self._settings.balance)
                    found = await self._look() if mine else None
                    if found is not None and not found.holds:
                        await self._stop_mail(found)
        finally:
            self._stopping.set()

    async def _look(self) -> Balance:
        found = await self._reader.read(states.running)
        if not found.holds or time.monotonic() < self._recount_at:
            return found
        found = await self._reader.read(partial(states.balance, rest=self._rest))
        self.recounted = found
        # What did not add up is counted again at the next look, so that it is seen when it is mended.
        self._recount_at = time.monotonic() + self._settings.recount if found.holds else 0.0
        return found

    def _rest(self, seconds: float) -> None:
        """In a reader's thread: as long as the page took, so that a recount takes at most half of one core."""
        if self._stopping.wait(seconds):
            raise SluisError("the relay stops")

    async def _stop_mail(self, found: Balance) -> None:
        self._alert("balance", difference=found.difference, balance=str(found))
        reason = f"the balance does not hold: {found}"
        await self._journal.submit(partial(change.pull_brake, actor=self._owner, reason=reason, now_us=self._clock.now_us()))
        await self._in_force.refresh()
