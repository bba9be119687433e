"""The mark before a final dot, for many attempts in one commit: phase, brake and lease are asked for in the same transaction."""

from dataclasses import dataclass

from sqlalchemy import Connection

from relay.model.message import Claimed
from relay.model.ports import Clock
from relay.phases import state as phase_state
from relay.phases.state import Fences
from relay.store import queue


@dataclass(frozen=True, slots=True)
class Marking:
    """One attempt that may send its final dot, if phase and brake are still those of `fences`."""

    claimed: Claimed
    fences: Fences
    clock: Clock
    first: bool


def mark(connection: Connection, items: list[Marking]) -> list[int]:
    """Gives when each lease ends. Raises LeaseLost and ChangedMeanwhile, for one or for all: the journal then asks for each alone."""
    for fences in {item.fences for item in items}:
        phase_state.check(connection, fences)
    ends: dict[int, int] = {}
    for first in (True, False):
        same = [item for item in items if item.first is first]
        if same:
            until_us = queue.mark_all(connection, [item.claimed for item in same], same[0].clock.now_us(), first=first)
            ends.update((id(item), end_us) for item, end_us in zip(same, until_us, strict=True))
    return [ends[id(item)] for item in items]
