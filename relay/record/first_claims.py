"""The first claim on what may leave at once is made in the commit that accepts it: nobody has to look for it in the queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from relay.model.delivery import State
from relay.model.effects import Effects
from relay.model.message import Body, Claimed, Decided, StoredMessage, Ticket

FIRST_FENCE = 1


@dataclass(frozen=True, slots=True)
class Lease:
    """Whose the delivery is, until when (microseconds since 1970 UTC)."""

    owner: str
    until_us: int


class FirstClaims(Protocol):
    """Who delivers in this process. Each lease that was given out is taken or released."""

    def reserve(self) -> Lease | None:
        """None: nobody here has time, or nothing may leave; the queue has it then."""
        ...

    def take(self, lease: Lease | None, claims: Sequence[Claimed], body: Body) -> None:
        """The commit is made. `body` is there as long as its bytes are in memory, so that they need not be read again."""
        ...

    def release(self, lease: Lease | None) -> None:
        """There is no commit, or it may not have been made: what was written all the same is claimed when the lease is over."""
        ...


class NobodyDelivers:
    """FirstClaims of a process that only accepts."""

    def reserve(self) -> Lease | None:
        return None

    def take(self, lease: Lease | None, claims: Sequence[Claimed], body: Body) -> None:
        pass

    def release(self, lease: Lease | None) -> None:
        pass


def first_claims(
    decided: Decided, states: Sequence[State], commitment: str, kept: str, queued: Sequence[Mapping[str, Any]]
) -> list[Claimed]:
    """The claims that the queue rows tell of: one for each route and its effects. What stands in `queued` without an owner is nobody's.
    `kept` is the name that the spool gave the sealed body."""
    verdicts = decided.decision.verdicts
    routes: dict[tuple[str, Any], list[Mapping[str, Any]]] = {}
    for row in queued:
        if row["owner"] is not None:
            routes.setdefault((row["route"], verdicts[row["ordinal"]].effects.way), []).append(row)
    if not routes:
        return []
    message = _stored(decided, commitment, kept)
    recipients = decided.inspected.received.envelope.recipients
    return [
        Claimed(
            message=message,
            route=route,
            tickets=tuple(Ticket(row["ordinal"], recipients[row["ordinal"]], states[row["ordinal"]], attempts=0) for row in rows),
            epoch=decided.decision.epoch,
            owner=rows[0]["owner"],
            fence=FIRST_FENCE,
            lease_until_us=rows[0]["lease_until_us"],
            expires_us=min(row["expires_us"] for row in rows),
            effects=Effects(require_tls=way[0], fields=way[1]),
        )
        for (route, way), rows in routes.items()
    ]


def _stored(decided: Decided, commitment: str, kept: str) -> StoredMessage:
    """As `relay.store.queue.stored_message` would read it."""
    received = decided.inspected.received
    return StoredMessage(
        id=received.id,
        received_us=received.received_us,
        peer=received.peer,
        client=received.client,
        sender=received.envelope.sender,
        spool_object=kept,
        size=received.body.size,
        digest=received.body.digest,
        body_hash=received.body.body_hash,
        vouched=received.vouched,
        authorised=received.authorised,
        inspection=decided.inspected.inspection,
        commitment=commitment,
        recipients_total=len(received.envelope.recipients),
    )
