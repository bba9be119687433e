"""Takes what is due from the queue and brings it on: decides again where the epoch is another, signs and delivers where it is this one."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from relay.app.custody import Custody
from relay.app.kept_up import kept_up
from relay.judge import Alert
from relay.model.errors import ConfigurationError, PolicyUnavailable, Refusal, SpoolError, SpoolUnavailable, StoreError, Withdrawn
from relay.model.message import Body, Claimed
from relay.model.ports import Clock
from relay.record.first_claims import Lease
from relay.settings.models import Delivery
from relay.store import queue
from relay.store.journal import Journal
from relay.store.queue import LeaseLost
from relay.store.reader import Reader

log = logging.getLogger("sluis.queue")
SECOND = 1_000_000
ROOM = 0.25  # of what may run at a time must be free before the queue is asked for more: many claims in one commit
WITHDRAWN_SECONDS = 1  # whatever the reason is, it is not asked after in a tight loop
BROKEN_SECONDS = 60  # before what a missing key or a lost store stopped is tried again
LAPS = 6  # of looking for what to renew, in a lease: none that is looked after comes to its last two thirds


class Dispatcher:
    """One for each process; `owner` names it in leases."""

    def __init__(
        self,
        custody: Custody,
        journal: Journal,
        reader: Reader,
        clock: Clock,
        settings: Delivery,
        owner: str,
        braked: Callable[[], bool],
        alert: Alert,
    ) -> None:
        self._custody = custody
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._settings = settings
        self._owner = owner
        self._braked = braked
        self._alert = alert
        self._wake = asyncio.Event()
        self._stopping = False
        self._running: dict[asyncio.Task[None], Claimed] = {}
        self._reserved = 0
        self._behind = True  # until the queue was seen to hold less than there is time for
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(kept_up(self._loop)), asyncio.create_task(kept_up(self._renewals))]

    def wake(self) -> None:
        """Something is due now."""
        self._wake.set()

    @property
    def busy(self) -> int:
        """How many claims are being worked on."""
        return len(self._running) + self._reserved

    async def stop(self, deadline: float) -> None:
        """Claims no more, and lets what is running come to its end for `deadline` seconds; what is not done then keeps its lease, and
        the mark tells.
        """
        self._stopping = True
        self._wake.set()
        if self._tasks:
            claiming, renewing = self._tasks
            await claiming
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=deadline)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._tasks:
            renewing.cancel()

    def reserve(self) -> Lease | None:
        """A FirstClaims. While the queue is behind, a share of what may run at a time is left to what waits there."""
        most = self._settings.parallel * (1 - ROOM) if self._behind else self._settings.parallel
        if not self._tasks or self._stopping or self._braked() or self.busy >= most:
            return None
        self._reserved += 1
        return Lease(self._owner, self._clock.now_us() + int(self._settings.lease * SECOND))

    def take(self, lease: Lease | None, claims: Sequence[Claimed], body: Body) -> None:
        """A FirstClaims."""
        self.release(lease)
        for claimed in claims:
            self._begin(claimed, body)
        if lease is None:
            self._behind = True
            self.wake()

    def release(self, lease: Lease | None) -> None:
        """A FirstClaims."""
        if lease is not None:
            self._reserved -= 1

    async def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                claims = await self._claim()
            except StoreError as error:
                log.error("the queue can't be read", extra={"fields": {"error": str(error)}})
                claims = []
            for claimed in claims:
                self._begin(claimed)
            if not claims or self.busy > self._settings.parallel * (1 - ROOM):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._settings.poll)

    def _begin(self, claimed: Claimed, body: Body | None = None) -> None:
        task = asyncio.create_task(self._one(claimed, body))
        self._running[task] = claimed
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if self._behind and self.busy <= self._settings.parallel * (1 - ROOM):
            self._wake.set()

    async def _claim(self) -> list[Claimed]:
        """Looks before it writes: an idle queue costs no commit. While the brake is on nothing is claimed, so that nothing leaves."""
        free = self._settings.parallel - self.busy
        if free <= 0 or self._braked():
            return []
        now_us = self._clock.now_us()
        if not await self._reader.read(lambda connection: queue.is_due(connection, now_us)):
            self._behind = False
            return []
        lease_us = int(self._settings.lease * SECOND)
        at_work = {claimed.message.id for claimed in self._running.values()}
        claims = await self._journal.submit(lambda connection: queue.claim(connection, self._owner, now_us, lease_us, free, at_work))
        self._behind = sum(len(claimed.tickets) for claimed in claims) >= free
        return claims

    async def _one(self, claimed: Claimed, body: Body | None) -> None:
        fields: dict[str, Any] = {"message": claimed.message.id.hex}
        try:
            await self._custody.bring_on(claimed, body)
        except LeaseLost as error:
            log.warning("lease lost", extra={"fields": fields | {"error": str(error)}})
        except (Withdrawn, PolicyUnavailable):
            await self._give_back(claimed, WITHDRAWN_SECONDS)
        except SpoolUnavailable as error:
            self._alert("spool-unavailable", **fields, error=str(error))
            if self._clock.now_us() < claimed.expires_us:
                await self._give_back(claimed, BROKEN_SECONDS)
            else:
                await self._custody.unreadable(claimed, str(error))
        except SpoolError as error:
            log.error("a body can't be read", extra={"fields": fields | {"error": str(error)}})
            await self._custody.unreadable(claimed, str(error))
        except (ConfigurationError, Refusal, StoreError) as error:
            log.error("can't be brought on now", extra={"fields": fields | {"error": str(error)}})
            await self._give_back(claimed, BROKEN_SECONDS)
        except asyncio.CancelledError:
            raise
        except Exception:
            # A bug on one message must not stop the others, and must not spin.
            log.exception("a message failed in custody", extra={"fields": fields})
            await self._give_back(claimed, BROKEN_SECONDS)

    async def _give_back(self, claimed: Claimed, seconds: int) -> None:
        next_us = self._clock.now_us() + seconds * SECOND
        with contextlib.suppress(StoreError):
            await self._journal.submit(lambda connection: queue.give_back(connection, claimed, next_us))

    async def _renewals(self) -> None:
        """A delivery may take longer than its lease. Who has lost one hears so at the mark. What has just begun, most of it, is left alone,
        and what is over: a lease that is gone would spoil the commit that it is renewed in for all others."""
        lease_us = int(self._settings.lease * SECOND)
        while True:
            await asyncio.sleep(self._settings.lease / LAPS)
            for task, claimed in list(self._running.items()):
                now_us = self._clock.now_us()
                if task.done() or claimed.lease_until_us - now_us > lease_us - lease_us // LAPS:
                    continue
                with contextlib.suppress(LeaseLost, StoreError):
                    until_us = await self._journal.submit(partial(queue.renew, claimed=claimed, now_us=now_us, lease_us=lease_us))
                    if not task.done():
                        self._running[task] = replace(claimed, lease_until_us=until_us)
