"""A relay that says 250 before the commit, which is to follow."""

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

import relay.app.composition
from relay.cli import main
from relay.model.delivery import State
from relay.model.message import Adopted, Decided, Recorded
from relay.record import Record
from relay.store.journal import Journal

LATE_SECONDS = 3600.0
"""The crash comes first, however slow the machine is."""


class LateJournal:
    """Says that a commit was made, and makes it later."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._late: set[asyncio.Task[None]] = set()

    async def submit_to(self, batch: Any, item: Any) -> None:
        async def later() -> None:
            await asyncio.sleep(LATE_SECONDS)
            await self._journal.submit_to(batch, item)

        task = asyncio.create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)


class EarlyRecord(Record):
    """Gives the receipt before what it promises is durable."""

    async def accept(self, decided: Decided, states_: Sequence[State], codes: tuple[int, ...] = (250,)) -> Recorded | Adopted:
        early = copy.copy(self)
        early.adoption = copy.copy(self.adoption)
        early.adoption._journal = LateJournal(self._journal)  # type: ignore[assignment]
        return await Record.accept(early, decided, states_, codes)


if __name__ == "__main__":
    vars(relay.app.composition)["Record"] = EarlyRecord
    main()
