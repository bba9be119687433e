"""Erases what may go, as the settings say: small steps with pauses, so that mail does not notice; an event says how many of each."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from relay.audit import old_months, retention
from relay.audit.event import make_event, write
from relay.model.errors import StoreError
from relay.model.ports import Clock
from relay.settings.models import Retention as RetentionSettings
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.spool.ports import Spool

Result = TypeVar("Result")
DAY_US = 86_400 * 1_000_000
LOOKED_AT = 500
AIM_SECONDS, AIM_ALONE_SECONDS = 0.05, 0.2
"""What a commit should take while there is mail, and while there is none: on SQLite all mail waits for it, also what comes just then. How
many messages that are shows each commit for the next."""
LEAST, MOST = 50, LOOKED_AT
"""Messages in one commit."""
EVENTS_FOR_ONE = 4
"""Records that are looked through in the time of one message."""
REST = 3.0
"""Pauses, in times of what a commit took, as long as there is mail."""
DROP_TRIES, DROP_REST = 20, 1.0
TOLD_SECONDS = 60.0
"""An event at least as often: a crash leaves little untold."""

Position = tuple[str, uuid.UUID | None]
"""A stage, and the id behind which it goes on."""
STAGES = ("bodies", "months", "messages", "events")
START: Position = ("bodies", None)
NAMES = ("bodies", "months", "messages", "recipients", "records")
"""What is counted."""


class Retention:
    """`spool` None: bodies are left to who has it. `may_drop`: the role owns the tables, so that whole months can be dropped. With
    `dry_run` it is counted what would go, and nothing changes. `who` is actor, origin and reason of its events. `own_journal`: no mail goes
    through it, so that it can't tell whether there is any, and every commit has its pause."""

    def __init__(
        self,
        journal: Journal,
        reader: Reader,
        spool: Spool | None,
        clock: Clock,
        settings: RetentionSettings,
        who: tuple[str, str, str],
        *,
        may_drop: bool = False,
        own_journal: bool = False,
        dry_run: bool = False,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._spool = spool
        self._clock = clock
        self._who = who
        self._may_drop = may_drop
        self._dry_run = dry_run
        self._own_journal = own_journal
        self._pause = pause
        self._size = LEAST
        self._untold: Counter[str] = Counter()
        now_us = clock.now_us()
        days = [number for number in (settings.body_days, settings.record_days) if number is not None]
        self.bodies_before_us = now_us - min(days) * DAY_US if days else None  # no record goes before its body
        self.records_before_us = None if settings.record_days is None else now_us - settings.record_days * DAY_US

    async def run(self, tell: Callable[[Counter[str]], None] | None = None) -> Counter[str]:
        """All that may go now; gives how many of each. `tell` hears how far it is. Raises StoreError."""
        total: Counter[str] = Counter()
        position: Position | None = START
        while position is not None:
            counts, position = await self.some(position, TOLD_SECONDS)
            total += counts
            if tell is not None:
                tell(total)
        return total

    async def some(self, position: Position, seconds: float) -> tuple[Counter[str], Position | None]:
        """About `seconds` of it, from `position` on; gives how many of each went and where to go on, None at the end."""
        following: Position | None = position
        deadline = time.monotonic() + seconds
        counts: Counter[str] = Counter()
        try:
            while following is not None and time.monotonic() < deadline:
                found, following = await self._step(*following)
                counts += found
        finally:
            await self._say()
        return counts, following

    async def _step(self, stage: str, after: uuid.UUID | None) -> tuple[Counter[str], Position | None]:
        counts, behind = await self._stage(stage)(after)
        if behind is not None:
            return counts, (stage, behind)
        index = STAGES.index(stage) + 1
        return counts, (STAGES[index], None) if index < len(STAGES) else None

    def _stage(self, stage: str) -> Callable[[uuid.UUID | None], Awaitable[tuple[Counter[str], uuid.UUID | None]]]:
        return {"bodies": self._bodies, "months": self._months, "messages": self._messages, "events": self._events}[stage]

    async def _bodies(self, after: uuid.UUID | None) -> tuple[Counter[str], uuid.UUID | None]:
        before_us = self.bodies_before_us
        if before_us is None or (self._spool is None and not self._dry_run):
            return Counter(), None
        looked = await self._reader.read(partial(retention.bodies_due, before_us=before_us, after=after, limit=LOOKED_AT))
        if self._dry_run:
            return Counter(bodies=len(looked.ids)), looked.next
        assert self._spool is not None
        gone = 0
        for ids in self._pieces(looked.ids):
            names = await self._commit(partial(retention.erase_bodies, ids=ids, before_us=before_us))
            await asyncio.to_thread(self._spool.discard, *names)
            self._untold["bodies"] += len(names)
            gone += len(names)
        return Counter(bodies=gone), looked.next

    async def _may_erase(self) -> int | None:
        """Before when, or None where nothing is to be erased, or not by us."""
        if self.records_before_us is None or not await self._reader.read(retention.may_erase_records):
            return None
        return self.records_before_us

    async def _months(self, _: uuid.UUID | None) -> tuple[Counter[str], uuid.UUID | None]:
        """One after the other, each in a transaction of its own. Where mail is in the way it is tried again a little later; a month that
        stays goes row by row."""
        before_us = await self._may_erase()
        if before_us is None or not self._may_drop or self._dry_run:
            return Counter(), None
        total: Counter[str] = Counter()
        for month in await self._reader.read(partial(old_months.due_months, before_us=before_us)):
            counts = await self._drop(month, before_us)
            if counts:
                counts["months"] = 1
                self._untold += counts
                total += counts
        return total, None

    async def _drop(self, month: str, before_us: int) -> Counter[str]:
        for _ in range(DROP_TRIES):
            try:
                return await self._commit(partial(old_months.drop_month, month=month, before_us=before_us))
            except StoreError:
                await self._pause(DROP_REST)
        return Counter()

    async def _messages(self, after: uuid.UUID | None) -> tuple[Counter[str], uuid.UUID | None]:
        before_us = self.records_before_us if self._dry_run else await self._may_erase()
        if before_us is None:
            return Counter(), None
        looked = await self._reader.read(partial(retention.records_due, before_us=before_us, after=after, limit=LOOKED_AT))
        if self._dry_run:
            return Counter(messages=len(looked.ids)), looked.next
        total: Counter[str] = Counter()
        for ids in self._pieces(looked.ids):
            await self._reader.read(partial(retention.read_ahead, ids=ids))
            counts = await self._commit(partial(retention.erase_records, ids=ids, before_us=before_us))
            self._untold += counts
            total += counts
        return total, looked.next

    async def _events(self, after: uuid.UUID | None) -> tuple[Counter[str], uuid.UUID | None]:
        """What events say that belong to no message, or to none that is still there."""
        before_us = self.records_before_us if self._dry_run else await self._may_erase()
        if before_us is None:
            return Counter(), None
        if self._dry_run:
            number, behind = await self._reader.read(partial(retention.events_due, before_us=before_us, after=after, limit=LOOKED_AT))
            return Counter(records=number), behind
        limit = EVENTS_FOR_ONE * self._size
        erased, behind = await self._commit(partial(retention.erase_events, before_us=before_us, limit=limit))
        self._untold["records"] += erased
        return Counter(records=erased), behind

    def _pieces(self, ids: list[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
        """Of as many as one commit may have by then."""
        start = 0
        while start < len(ids):
            piece = ids[start : start + self._size]
            start += len(piece)
            yield piece

    async def _commit(self, work: Callable[[Connection], Result]) -> Result:
        begun, works = time.monotonic(), self._journal.works
        result = await self._journal.submit(work)
        took = time.monotonic() - begun
        mail = self._own_journal or self._journal.works - works > 1 or self._journal.waiting > 0
        aim = AIM_SECONDS if mail else AIM_ALONE_SECONDS
        self._size = max(LEAST, min(MOST, int(self._size * max(0.5, min(2.0, aim / took)))))
        if mail:
            await self._pause(REST * took)
        return result

    async def _say(self) -> None:
        """Promise 8: what was erased is told, however the run ended."""
        told, self._untold = self._untold, Counter()
        if not +told:
            return
        actor, origin, reason = self._who
        details: dict[str, Any] = {name: told[name] for name in NAMES if told[name]}
        details |= {f"{name}_before_us": str(value) for name, value in self._ends().items() if value is not None}
        now_us = self._clock.now_us()
        event = make_event(
            "retention", object_="store", result="erased", origin=origin, actor=actor, time_us=now_us, reason=reason, details=details
        )
        await self._journal.submit(lambda connection: write(connection, [event]))

    def _ends(self) -> dict[str, int | None]:
        return {"bodies": self.bodies_before_us, "records": self.records_before_us}
