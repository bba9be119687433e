"""What was held comes back to be decided again when policy, phase or brake have changed: beside the mail, never before it."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from functools import partial

from relay.app.in_force import InForce
from relay.model.errors import SluisError
from relay.model.ports import Clock
from relay.phases import held
from relay.store.journal import Journal
from relay.store.reader import Reader

log = logging.getLogger("sluis.app")
ROOM = 500
"""Deliveries that may be undecided before more come back: new mail waits behind no more than these."""
LOOK_SECONDS = 0.25
RETRY_SECONDS = 1.0
RESTS = 3
"""Times as long as a page took that had nothing to bring back, so that to look through a million takes at most a quarter of one core."""


class Recall:
    """`begin` starts it, again where it is under way, and once more `late` seconds later: a message that another process decided under the
    epoch before may come into the record until then. `wake` tells whoever decides."""

    def __init__(
        self, journal: Journal, reader: Reader, clock: Clock, in_force: InForce, expiry_us: int, wake: Callable[[], None], late: float
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._in_force = in_force
        self._expiry_us = expiry_us
        self._wake = wake
        self._late = late
        self._later: asyncio.TimerHandle | None = None
        self._begin = asyncio.Event()

    def begin(self) -> None:
        """The epoch has changed, or the relay has started: what another epoch held is looked for from the start."""
        self._begin.set()
        if self._later is not None:
            self._later.cancel()
        self._later = asyncio.get_running_loop().call_later(self._late, self._begin.set)

    async def run(self) -> None:
        """Until it is cancelled; a store that is away for a while is asked again."""
        while True:
            await self._begin.wait()
            self._begin.clear()
            try:
                await self._pass()
            except SluisError as error:
                log.error("what is held can't be brought back now", extra={"fields": {"error": str(error)}})
                self._begin.set()
                await asyncio.sleep(RETRY_SECONDS)
            except BaseException:
                self._begin.set()  # whoever begins again goes on with it
                raise

    async def _pass(self) -> None:
        """All that is held, oldest first. While the brake is on, all stays as it is."""
        after: uuid.UUID | None = None
        while True:
            if self._in_force.stopped() or self._begin.is_set():
                return
            _, epoch = self._in_force.current()
            begun = time.monotonic()
            keys, after = await self._reader.read(partial(held.stale, epoch=epoch, after=after))
            took = time.monotonic() - begun
            for start in range(0, len(keys), held.PAGE):
                await self._room()
                now_us = self._clock.now_us()
                page = keys[start : start + held.PAGE]
                await self._journal.submit(
                    partial(held.bring_back, keys=page, epoch=epoch, now_us=now_us, expires_us=now_us + self._expiry_us)
                )
                self._wake()
            if after is None:
                return
            if not keys:
                await self._rest(RESTS * took)

    async def _room(self) -> None:
        while await self._reader.read(partial(held.crowded, limit=ROOM)) and not self._begin.is_set():
            await self._rest(LOOK_SECONDS)

    async def _rest(self, seconds: float) -> None:
        """Or until it begins again."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._begin.wait(), seconds)
