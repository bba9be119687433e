"""Leases hold by the clocks of the machines: one whose clock is wrong would take what others are delivering, so it claims nothing."""

import asyncio
import contextlib
import time

from sqlalchemy import Connection, text

from relay.judge import Alert
from relay.model.errors import SluisError
from relay.model.ports import Clock
from relay.store.reader import Reader

LOOK_SECONDS = 10.0


class ClockWatch:
    """Compares with the clock of the database, which is the same for all. `wrong` while they differ by more than a quarter of a lease: two
    machines then differ by half a lease at most, and a lease that is alive never has less than two thirds left. `shared`: others hold
    leases in this store, too, which seem to be over when the clock is put forward; a step counts as wrong for one lease, in which what is
    alive is renewed."""

    def __init__(self, reader: Reader, clock: Clock, alert: Alert, lease_seconds: float, *, shared: bool = False) -> None:
        self._reader = reader
        self._clock = clock
        self._alert = alert
        self._lease_seconds = lease_seconds
        self._limit_us = lease_seconds * 1e6 / 4
        self._shared = shared
        self._differs = False
        self._apart_us = self._apart()
        self._right_at = 0.0

    @property
    def wrong(self) -> bool:
        """Asked before each claim: nobody tells of a step."""
        if not self._shared:
            return self._differs
        apart_us = self._apart()
        step_us, self._apart_us = abs(apart_us - self._apart_us), apart_us
        if step_us > self._limit_us:
            self._right_at = time.monotonic() + self._lease_seconds
        return self._differs or time.monotonic() < self._right_at

    def _apart(self) -> float:
        """Of a clock that nobody can set."""
        return self._clock.now_us() - time.monotonic() * 1e6

    async def look(self) -> None:
        """Once. Raises StoreError."""
        before, started = self._clock.now_us(), time.monotonic()
        there_us = await self._reader.read(database_now_us)
        took_us = (time.monotonic() - started) * 1e6
        if there_us is None:
            return  # SQLite: there is no other clock, and no other machine
        # Its clock was read somewhere in that time.
        early, late = there_us - before - took_us - self._limit_us, there_us - before + self._limit_us
        wrong = early > 0 or late < 0
        if wrong and not self._differs:
            self._alert("clock", seconds=round((before - there_us) / 1e6, 1), allowed=self._limit_us / 1e6)
        self._differs = wrong

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(SluisError):
                await self.look()


def database_now_us(connection: Connection) -> int | None:
    """Microseconds since 1970 by the clock of the database; None where it has none of its own (SQLite)."""
    if connection.dialect.name != "postgresql":
        return None
    return int(connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")).scalar_one())
