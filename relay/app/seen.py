"""What the store is like beside its marks: whether it has all that they say was committed."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from relay.model.ids import id_time_us
from relay.model.text import time_text
from relay.store import high_water
from relay.store.high_water import Mark
from relay.store.lineage import Standing, standing

WHAT_NOW = (
    "what was delivered since may be queued again, and what was accepted since is only in the spool "
    "(sluis store rebuild); a person lets go: sluis brake release"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The store beside the marks. `unknown` name events that it does not have; `left` were made on another server or timeline, whose last
    commits may not have come with it."""

    unknown: tuple[Mark, ...]
    left: tuple[Mark, ...]
    newest: uuid.UUID | None
    here: Standing | None

    @property
    def lost(self) -> tuple[Mark, ...]:
        """Those for which the brake is pulled."""
        return (*self.unknown, *self.left)

    def reason(self, mark: Mark) -> str:
        """What is wrong with the store, by this one of `lost`."""
        if mark in self.unknown:
            knows = f"ends at {time_text(id_time_us(self.newest))}" if self.newest else "has no events"
            return (
                f"the store {knows}, but {mark.name} in the spool says that event {mark.event} of {time_text(mark.time_us)} was "
                f"committed: this store was restored from a backup, or is a standby that lagged; {WHAT_NOW}"
            )
        return (
            f"the store is {self.here.lineage if self.here else 'no PostgreSQL'}, but {mark.name} in the spool says that commits went to "
            f"{mark.lineage}: a standby was promoted for which not every commit had waited, or the database was restored or moved. What "
            f"was committed last may be lost; {WHAT_NOW}"
        )


def look(connection: Connection, marks: Sequence[Mark], now_us: int) -> Seen:
    """One look, at one server."""
    unknown = tuple(high_water.unknown_marks(connection, marks, now_us))
    here = standing(connection)
    lineage = here.lineage if here is not None else None
    left = tuple(mark for mark in marks if mark not in unknown and mark.left_by(lineage) and not mark.carried_to(lineage))
    return Seen(unknown, left, high_water.newest_event(connection, now_us), here)
