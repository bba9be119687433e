"""Rounds: a kill in a window, or a fault of the disk; then a start, what the checker says, and the table of many."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.faults.checker import Verdict
from tests.faults.client import Transaction
from tests.faults.disk import DiskFault, break_disk, told_wrong
from tests.faults.stand import Stand
from tests.faults.strace import NotInWindow
from tests.faults.windows import WINDOWS
from tests.servers.clamd import Clamd

TRIES = 10
"""A kill may go off at another commit, such as one of the background, or a fault hit nothing; the round is played again then, and counted
as missed."""


@dataclass
class Tally:
    """Of one window. `adopted` are messages that a client sent again because it had not heard the 250 that they had."""

    rounds: int = 0
    missed: int = 0
    messages: int = 0
    possible_duplicates: int = 0
    duplicates: int = 0
    adopted: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        numbers = (self.rounds, self.missed, self.messages, self.adopted, self.possible_duplicates, self.duplicates, len(self.faults))
        return "".join(f"{number:>{width}}" for number, width in zip(numbers, WIDTHS, strict=True))


TITLES = ("rounds", "missed", "messages", "adopted", "possible dup.", "duplicates", "faults")
WIDTHS = (8, 8, 10, 9, 15, 12, 8)
NAME_WIDTH = 44


@dataclass
class Report:
    """What the rounds have shown, window by window."""

    tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """Broken promises, and rounds that proved nothing."""
        return [f"{window}: {fault}" for window, tally in self.tallies.items() for fault in tally.faults]

    def tally(self, window: str) -> Tally:
        """Of a window, empty at first."""
        return self.tallies.setdefault(window, Tally())

    def __str__(self) -> str:
        head = " " * NAME_WIDTH + "".join(f"{title:>{width}}" for title, width in zip(TITLES, WIDTHS, strict=True))
        lines = [f"{window:<{NAME_WIDTH}}{tally}" for window, tally in sorted(self.tallies.items())]
        return "\n".join([head, *lines, *self.faults])


class Rounds:
    """Plays rounds on one stand. Whatever it is that fails, is in the report."""

    def __init__(self, at: Stand, clamd: Clamd, report: Report, suffix: str) -> None:
        self._at = at
        self._clamd = clamd
        self._report = report
        self._suffix = suffix
        self._before = Verdict()

    async def play(self, what: str | DiskFault) -> None:
        """One round: a window of that name, or a fault."""
        tally = self._report.tally(f"{what}{self._suffix}")
        tally.rounds += 1
        first = len(self._at.client.log)
        if isinstance(what, DiskFault):
            caught = await self._broken(what, tally)
        else:
            caught = await self._killed(what, tally)
        tally.messages += len(caught)
        tally.adopted += await self._at.again(self._at.client.log[first:])  # those of a kill that missed, too
        await self._at.settle()
        verdict = self._at.check()
        tally.possible_duplicates += verdict.possible_duplicates - self._before.possible_duplicates
        tally.duplicates += verdict.duplicates - self._before.duplicates
        tally.faults += judged(verdict, self._before)
        self._before = verdict

    async def _killed(self, window: str, tally: Tally) -> list[Transaction]:
        for _ in range(TRIES):
            try:
                caught = await WINDOWS[window](self._at)
            except NotInWindow as error:
                tally.missed += 1
                reason = str(error)
                caught = []
            if not self._at.running:
                await self._at.start()
            if caught:
                return caught
        tally.faults.append(reason)
        return []

    async def _broken(self, fault: DiskFault, tally: Tally) -> list[Transaction]:
        for _ in range(TRIES):
            seen = None
            try:
                seen = await break_disk(self._at, self._clamd, fault)
            except NotInWindow as error:
                tally.missed += 1
                reason = str(error)
            if not self._at.running:
                await self._at.start()
            await self._at.hurry()
            if seen is not None:
                tally.faults += told_wrong(fault, seen)
                return seen.transactions
        tally.faults.append(reason)
        return []


async def run_rounds(
    at: Stand,
    clamd: Clamd,
    plan: Iterable[str | DiskFault],
    report: Report,
    said: Callable[[str], None] = lambda _: None,
    suffix: str = "",
) -> None:
    """One round for each of the plan; `said` hears of each. `suffix` goes behind the names in the report."""
    rounds = Rounds(at, clamd, report, suffix)
    for what in plan:
        await rounds.play(what)
        said(f"{what}{suffix}")


def judged(after: Verdict, before: Verdict, *, store_away: bool = False) -> list[str]:
    """What is wrong now and was not: broken promises; a message in custody whose client was never told, though all have sent again; a copy
    at whose final dot the store was not asked, unless it was away (`store_away`)."""
    faults = [f"promise {violation.promise}: {violation.what}" for violation in after.violations if violation not in before.violations]
    if after.unheard > before.unheard:
        faults.append(f"{after.unheard} messages are in custody, and their clients were never told")
    if after.unseen > before.unseen and not store_away:
        faults.append(f"{after.unseen} copies arrived, and the store was not asked what it knew of them")
    return faults
