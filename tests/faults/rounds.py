"""Rounds: a window, a kill, a start, and what the checker says; and the table of many."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.faults.checker import Violation
from tests.faults.stand import Stand
from tests.faults.windows import WINDOWS, NotInWindow


@dataclass
class Tally:
    """Of one window."""

    rounds: int = 0
    messages: int = 0
    possible_duplicates: int = 0
    duplicates: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What the rounds have shown, window by window."""

    tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """Broken promises, and rounds that proved nothing."""
        return [f"{window}: {fault}" for window, tally in self.tallies.items() for fault in tally.faults]

    def __str__(self) -> str:
        head = f"{'window':<24}{'rounds':>8}{'in window':>11}{'possible dup.':>15}{'duplicates':>12}{'faults':>8}"
        lines = [
            f"{window:<24}{t.rounds:>8}{t.messages:>11}{t.possible_duplicates:>15}{t.duplicates:>12}{len(t.faults):>8}"
            for window, t in self.tallies.items()
        ]
        return "\n".join([head, *lines, *self.faults])


async def run_round(at: Stand, window: str, report: Report) -> None:
    """One kill in one window. The relay runs before and after it; whatever it is that fails, is in the report."""
    tally = report.tallies.setdefault(window, Tally())
    before = at.check()
    try:
        caught = await WINDOWS[window](at)
    except NotInWindow as error:
        tally.faults.append(str(error))
        caught = []
    if not at.running:
        await at.start()
    await at.settle()
    after = at.check()
    tally.rounds += 1
    tally.messages += len(caught)
    tally.possible_duplicates += after.possible_duplicates - before.possible_duplicates
    tally.duplicates += after.duplicates - before.duplicates
    tally.faults += _new(after.violations, before.violations)


async def run_rounds(at: Stand, windows: Iterable[str], said: Callable[[str], None] = lambda _: None) -> Report:
    """One round for each; `said` hears of each."""
    report = Report()
    for number, window in enumerate(windows, 1):
        await run_round(at, window, report)
        said(f"round {number}: {window}: {report.tallies[window]}")
    return report


def _new(after: list[Violation], before: list[Violation]) -> list[str]:
    return [f"promise {violation.promise}: {violation.what}" for violation in after if violation not in before]
