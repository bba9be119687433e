"""For a process beside the one that keeps the high-water mark: whether its own connections reach the store that has what was committed."""

import asyncio
import contextlib
from functools import partial

from sqlalchemy import Engine

from relay.app.high_water_watch import SECONDS
from relay.app.seen import Seen, ask_each_connection, look
from relay.model.errors import SluisError
from relay.model.ports import Clock
from relay.store import high_water
from relay.store.high_water import Mark, Marks
from relay.store.reader import Reader


class HighWaterGuard:
    """Moves no mark and pulls no brake: the process that keeps the mark (relay/app/high_water_watch.py) does, within a second. `suspect`:
    until then, and until a person has let go where that was needed, nothing may leave from here."""

    def __init__(self, marks: Marks, reader: Reader, clock: Clock, machine: str, standby: str = "none") -> None:
        self._marks = marks
        self._reader = reader
        self._clock = clock
        self._machine = machine
        self._standby = standby
        self._last: Mark | None = None
        self.suspect = False

    async def begin(self) -> None:
        """By the marks that are kept. Raises StoreError, OSError."""
        files = await asyncio.to_thread(self._marks.read)
        seen = await self._look(high_water.read_marks(files))
        self.suspect = bool(seen.lost) or high_water.read_behind(files) is not None
        if not self.suspect:
            self._last = seen.mark(self._machine, self._standby)

    def watch_connections(self, engine: Engine) -> None:
        """Those that are made from here on."""
        ask_each_connection(engine, lambda: self._last, self._doubt)

    def _doubt(self) -> None:
        self.suspect = True

    async def run(self) -> None:
        """Once a second; a store or a spool that is away is looked at when it is back."""
        while True:
            await asyncio.sleep(SECONDS)
            with contextlib.suppress(SluisError, OSError):
                await self.tick()

    async def tick(self) -> None:
        """By what was seen here last; after a doubt by the marks that are kept. Raises StoreError, OSError."""
        if self.suspect:
            await self.begin()
            return
        seen = await self._look([self._last] if self._last is not None else [])
        if seen.lost:
            self.suspect = True
        else:
            self._last = seen.mark(self._machine, self._standby)

    async def _look(self, marks: list[Mark]) -> Seen:
        return await self._reader.read(partial(look, marks=marks, now_us=self._clock.now_us()))
