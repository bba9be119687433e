"""Rounds with a fault of the surroundings: the fault, its proof, its end; then clients send again, the queue empties, and the checker
reads everything."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.faults.checker import Verdict
from tests.faults.client import Transaction
from tests.faults.rounds import Report, judged
from tests.faults.stand import Stand

Fault = Callable[[Stand], Awaitable[list[Transaction]]]
"""Brings messages into its window, proves that they were in it, and undoes the damage; gives them. The relay runs before and after it."""
WITHOUT_STORE = "PostgreSQL"
"""So the names of faults begin in which the next hop can't always look into the store."""


class NotThere(AssertionError):
    """The fault met no message: the round proves nothing."""


def prove(fact: object, what: str) -> None:
    """Raises NotThere."""
    if not fact:
        raise NotThere(f"no message met the fault: {what}")


class Around:
    """Plays rounds on one stand; what does not hold is in the report."""

    def __init__(self, at: Stand, report: Report) -> None:
        self.at = at
        self.report = report
        self._before = Verdict()

    async def play(self, name: str, fault: Fault) -> None:
        """One round."""
        tally = self.report.tally(name)
        tally.rounds += 1
        caught: list[Transaction] = []
        try:
            caught = await fault(self.at)
        except NotThere as error:
            tally.faults.append(str(error))
        tally.messages += len(caught)
        tally.adopted += await self.at.again(caught)
        await self.at.hurry()
        await self.at.settle()
        verdict = self.at.check()
        tally.possible_duplicates += verdict.possible_duplicates - self._before.possible_duplicates
        tally.duplicates += verdict.duplicates - self._before.duplicates
        tally.faults += judged(verdict, self._before, store_away=name.startswith(WITHOUT_STORE))
        self._before = verdict

    async def play_all(self, faults: Mapping[str, Fault]) -> None:
        """Each once, in their order."""
        for name, fault in faults.items():
            await self.play(name, fault)


def outcomes(at: Stand, transaction: Transaction) -> list[dict[str, Any]]:
    """What the record says of each recipient after each attempt, oldest first."""
    return [entry for event in at.events_of(transaction) if event["kind"] == "outcome" for entry in event["details"]["recipients"]]


def deferred(at: Stand, transaction: Transaction) -> bool:
    """Whether an attempt was made for it, and ended in another one to come."""
    return any(entry["state"] == "ready" for entry in outcomes(at, transaction))
