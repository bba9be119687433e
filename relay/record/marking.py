"""The mark before a final dot, for many attempts in one commit: phase, brake and lease are asked for in the same transaction."""

from dataclasses import dataclass

from sqlalchemy import Connection

from relay.model.message import Claimed
from relay.phases import state as phase_state
from relay.phases.state import Fences
from relay.store import queue


@dataclass(frozen=True, slots=True)
class Marking:
    """One attempt that may send its final dot, if phase and brake are still those of `fences`."""

    claimed: Claimed
    fences: Fences
    now_us: int
    first: bool


def mark(connection: Connection, items: list[Marking]) -> list[None]:
    """Raises LeaseLost and ChangedMeanwhile, for one of them or for all: the journal then asks for each alone."""
    for fences in {item.fences for item in items}:
        phase_state.check(connection, fences)
    for first in (True, False):
        same = [item for item in items if item.first is first]
        if same:
            queue.mark_all(connection, [(item.claimed, item.now_us) for item in same], first=first)
    return [None] * len(items)
