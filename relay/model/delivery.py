"""The states of one delivery (one message to one recipient) and the only moves between them."""

from enum import StrEnum


class State(StrEnum):
    """Where a recipient of an accepted message is; REFUSED is the one state outside our custody."""

    READY = "ready"  # decided deliver: waits for its next attempt, or is in it; in `queue`
    UNDECIDED = "undecided"  # deferred in custody, released, unheld or of an old epoch: inspect and decide again; in `queue`
    HELD = "held"  # waits for a phase or a policy that covers the case
    QUARANTINED = "quarantined"  # waits for a person
    UNDELIVERABLE = "undeliverable"  # failed, and nobody may be told by mail: waits for a person
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DELETED = "deleted"
    REFUSED = "refused"


WAITING = frozenset({State.READY, State.UNDECIDED, State.HELD, State.QUARANTINED, State.UNDELIVERABLE})
FINISHED = frozenset({State.DELIVERED, State.BOUNCED, State.DELETED, State.REFUSED})
QUEUED = frozenset({State.READY, State.UNDECIDED})
"""States that have a row in `queue`."""

MOVES: dict[State, frozenset[State]] = {
    State.READY: frozenset(
        {
            State.DELIVERED,
            State.BOUNCED,
            State.UNDELIVERABLE,
            State.UNDECIDED,
            State.HELD,
            State.QUARANTINED,
            State.DELETED,
        }
    ),
    State.UNDECIDED: frozenset({State.READY, State.HELD, State.QUARANTINED, State.BOUNCED, State.UNDELIVERABLE, State.DELETED}),
    State.HELD: frozenset({State.UNDECIDED, State.DELETED}),
    State.QUARANTINED: frozenset({State.UNDECIDED, State.DELETED}),
    State.UNDELIVERABLE: frozenset({State.UNDECIDED, State.DELETED}),
    State.DELIVERED: frozenset(),
    State.BOUNCED: frozenset(),
    State.DELETED: frozenset(),
    State.REFUSED: frozenset(),
}


def may_move(old: State, new: State) -> bool:
    """Whether the transition table has this move."""
    return new in MOVES[old]
