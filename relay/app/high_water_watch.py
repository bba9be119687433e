"""Keeps the mark of how far commits have come, and pulls the brake over a store that went back behind it."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, event

from relay.app.seen import Seen, look
from relay.audit.event import make_event, write
from relay.judge import Alert
from relay.model.errors import SluisError
from relay.model.ids import id_time_us
from relay.model.ports import Clock
from relay.model.text import time_text
from relay.phases import change
from relay.phases import state as phase_state
from relay.store import high_water
from relay.store.duplicates import name_possible_duplicates
from relay.store.high_water import BEHIND, Behind, Gap, Mark, Marks
from relay.store.journal import Journal
from relay.store.lineage import LINEAGE, parse
from relay.store.reader import Reader

log = logging.getLogger("sluis.store")
SECONDS = 1.0


class HighWaterWatch:
    """For the process that delivers, on `machine`. `standby` is `store.standby`. `suspect`: a new connection reached a store that does not
    know the last mark, or another server; nothing may leave until that was looked into. `pulled` is awaited after the brake was pulled."""

    def __init__(
        self,
        marks: Marks,
        journal: Journal,
        reader: Reader,
        clock: Clock,
        alert: Alert,
        machine: str,
        actor: str,
        standby: str = "none",
    ) -> None:
        self._marks = marks
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._alert = alert
        self._machine = machine
        self._actor = actor
        self._standby = standby
        self._followed = False
        self._last: Mark | None = None
        self._behind: Behind | None = None
        self._writable = True
        self.suspect = False
        self.pulled: Callable[[], Awaitable[None]] | None = None

    async def begin(self) -> None:
        """At the start, before anything leaves. Raises StoreError, OSError: then it can't be said whether the store is whole."""
        files = await asyncio.to_thread(self._marks.read)
        marks = high_water.read_marks(files)
        self._behind = high_water.read_behind(files)
        if self._behind is not None:
            if await self._reader.read(self._was_let_go):
                await self._resolve()
                return
            marks = list(self._behind.marks)
        now_us = self._clock.now_us()
        seen = await self._look(marks)
        if seen.lost:
            await self._went_back(seen)
            return
        if self._behind is not None:  # the right store is back
            await asyncio.to_thread(self._marks.remove, BEHIND)
            self._behind = None
        if not marks and seen.newest is not None and await self._reader.read(high_water.has_messages):
            await self._missing(seen.newest)
        for mark in marks:
            if mark.machine != self._machine and mark.time_us < now_us - high_water.OTHERS_US:
                await asyncio.to_thread(self._marks.remove, mark.name)
        await self._switched(marks, seen)
        await self._move(seen)

    async def _look(self, marks: Sequence[Mark]) -> Seen:
        """All from one server. Raises StoreError."""
        return await self._reader.read(partial(look, marks=marks, now_us=self._clock.now_us()))

    def watch_connections(self, engine: Engine) -> None:
        """On PostgreSQL a connection that is made anew may reach another server: each one is asked for the last mark first."""
        if engine.dialect.name == "postgresql":
            event.listen(engine, "connect", self._connected)

    def _connected(self, connection: Any, _record: Any) -> None:
        if self._last is None or self._behind is not None:
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM event WHERE id = %s", (self._last.event,))
            known = cursor.fetchone() is not None
            cursor.execute(LINEAGE)
            if not known or self._last.left_by(parse(*cursor.fetchone())):
                self.suspect = True
        connection.rollback()

    async def run(self) -> None:
        """Once a second; a store that is away is looked at when it is back."""
        while True:
            await asyncio.sleep(SECONDS)
            await self.tick()

    async def tick(self) -> None:
        """Looks whether the store still knows the last mark, and moves it on."""
        with contextlib.suppress(SluisError):
            if self._behind is not None:
                if await self._reader.read(self._was_let_go):
                    await self._resolve()
                return
            marks = [self._last] if self._last is not None else []
            seen = await self._look(marks)
            if seen.lost:
                await self._went_back(seen)
                return
            self.suspect = False
            self._look_at_followers(seen)
            await self._switched(marks, seen)
            await self._move(seen)

    def _look_at_followers(self, seen: Seen) -> None:
        """At a start it would have been refused (relay/store/durability.py)."""
        followed = self._standby == "none" and seen.here is not None and bool(seen.here.followers) and not seen.here.waits
        if followed and not self._followed:
            self._alert("store-followed", reason="a standby follows PostgreSQL, and store.standby is none: promoting it may lose mail")
        self._followed = followed

    async def _switched(self, marks: Sequence[Mark], seen: Seen) -> None:
        """A standby that has every commit took over: nothing is lost, and it is said. Bodies without rows are spared all the same: that it
        was the right one is the word of whoever promoted it. Other machines say so of their own marks."""
        mine = [mark for mark in marks if mark.machine == self._machine]
        gone = [mark for mark in mine if seen.here is not None and mark.carried_to(seen.here.lineage)]
        if not gone or seen.here is None:
            return
        now_us = self._clock.now_us()
        gap = Behind(tuple(gone), seen.newest, now_us, uuid.UUID(int=0)).gap
        reason = f"PostgreSQL was failed over from {gone[0].lineage} to {seen.here.lineage}, a standby for which each commit had waited"
        name = f"{high_water.GAP}{seen.here.lineage.timeline}-{gone[0].name}"
        await self._keep(name, {"reason": reason, "from_us": gap.from_us, "until_us": gap.until_us})
        log.warning("the store was failed over", extra={"fields": {"reason": reason}})
        self._alert("store-switched", reason=reason)
        await self._say("switched", reason)

    async def _move(self, seen: Seen) -> None:
        if seen.newest is None:
            return
        here = seen.here
        waits = here is not None and here.waits and self._standby == "synchronous"
        mark = Mark(self._machine, seen.newest, here.lineage if here is not None else None, waits)
        if mark == self._last:
            return
        try:
            await asyncio.to_thread(self._marks.write, mark.name, high_water.encoded(mark.to_json()))
        except OSError as error:
            if self._writable:
                self._alert("high-water-unwritable", error=str(error))
            self._writable = False
            return
        self._writable = True
        self._last = mark

    async def _went_back(self, seen: Seen) -> None:
        """The brake first, then the evidence: a crash in between finds it again."""
        highest = max(seen.lost, key=lambda mark: mark.time_us)
        newest, reason = seen.newest, seen.reason(highest)
        now_us = self._clock.now_us()
        found = high_water.read_behind(await asyncio.to_thread(self._marks.read))  # another process may have been first
        brake = await self._journal.submit(lambda connection: self._pull(connection, found, reason, now_us))
        self._alert("store-behind", reason=reason, mark=highest.event.hex, newest=newest.hex if newest else None)
        if found is not None and found.brake == brake:
            self._behind = found
        else:
            await self._name_duplicates()
            self._behind = Behind(tuple(seen.lost), newest, now_us, brake)
            await self._keep(BEHIND, self._behind.to_json())
        if self.pulled is not None:
            await self.pulled()
        self.suspect = False

    async def _name_duplicates(self) -> None:
        """What waits here may have left since (promise 1: the record names it)."""
        after: uuid.UUID | None = None
        while True:
            after = await self._journal.submit(partial(name_possible_duplicates, after=after))
            if after is None:
                return

    def _pull(self, connection: Connection, found: Behind | None, reason: str, now_us: int) -> uuid.UUID:
        """Once for each store that went back: at the next start it is on for this already."""
        if found is not None and phase_state.read(connection).brake and high_water.is_known(connection, found.brake):
            return found.brake
        return change.hold_brake(connection, self._actor, reason, now_us)

    def _was_let_go(self, connection: Connection) -> bool:
        """By a person, in this very store: one that was restored since knows nothing of the brake."""
        assert self._behind is not None
        return not phase_state.read(connection).brake and high_water.is_known(connection, self._behind.brake)

    async def _resolve(self) -> None:
        """A person let go: the store is as it is from here on. That bodies of the gap may lack rows is kept."""
        behind = self._behind
        assert behind is not None
        gap: Gap = behind.gap
        name = f"{high_water.GAP}{behind.found_us}.json"
        await self._keep(name, {**behind.to_json(), "from_us": gap.from_us, "until_us": gap.until_us})
        lost = ", ".join(f"{mark.event}" for mark in behind.marks)
        reason = f"the brake was let go: the mark moves on from here; what came with {lost} or after it may be lost"
        await self._say("moved", reason, since=behind.brake)
        # Those of other machines too, which would say the same again when these start.
        seen = await self._look(high_water.read_marks(await asyncio.to_thread(self._marks.read)))
        for mark in (*behind.marks, *seen.lost):
            await asyncio.to_thread(self._marks.remove, mark.name)
        await asyncio.to_thread(self._marks.remove, BEHIND)
        self._behind = self._last = None
        await self._move(seen)

    async def _keep(self, name: str, value: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(self._marks.write, name, high_water.encoded(value))
        except OSError as error:
            self._alert("high-water-unwritable", error=str(error))

    async def _missing(self, newest: uuid.UUID) -> None:
        """A store that is not new, and no mark: of before there were marks, or of another spool. It can't be said whether it went back."""
        reason = f"the store ends at {time_text(id_time_us(newest))} and the spool has no mark: it can't be said whether it is the newest"
        log.warning("no high-water mark", extra={"fields": {"reason": reason}})
        self._alert("high-water-missing", reason=reason)
        await self._say("missing", reason)

    async def _say(self, result: str, reason: str, since: uuid.UUID | None = None) -> None:
        """Once behind the event `since`: another process, or this one before it was stopped, may have said it."""
        told = make_event(
            "high-water",
            object_="store",
            result=result,
            origin=change.PROCESS,
            actor=self._actor,
            time_us=self._clock.now_us(),
            reason=reason,
        )

        def say(connection: Connection) -> None:
            if since is None or not high_water.was_said(connection, result, since):
                write(connection, [told])

        await self._journal.submit(say)

    async def gaps(self) -> list[Gap]:
        """When bodies were made that may have lost their rows. A spool that can't be read has no sweep either."""
        files = await asyncio.to_thread(self._marks.read)
        return high_water.read_gaps(files, self._clock.now_us())
