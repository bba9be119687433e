"""What was held comes back at inspect when phase, policy or brake change: in pages, so that a long backlog holds no long transaction."""

import uuid

from sqlalchemy import Connection, String, cast, select

from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.store import states
from relay.store.tables import Delivery

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
PAGE = 200
BY_POLICY = "hold"
BY_STAFF = "staff-hold"
"""What staff holds stays held until staff lets it go, whatever the phase."""


def bring_back(
    connection: Connection, epoch: Epoch, after: tuple[uuid.UUID, int] | None, now_us: int, expires_us: int, *, stale: bool = False
) -> tuple[uuid.UUID, int] | None:
    """One page of held deliveries to `undecided`, oldest first. Gives where to go on, or None at the end. Where another process does the
    same, each delivery is moved by one of them."""
    query = select(DELIVERY.c.message_id, DELIVERY.c.ordinal).where(
        DELIVERY.c.state == State.HELD.value, DELIVERY.c.disposition == BY_POLICY
    )
    if stale:
        braked = cast(DELIVERY.c.rules, String).contains('"rule": "brake"')
        query = query.where((DELIVERY.c.policy != epoch.policy) | (DELIVERY.c.phase != epoch.phase) | braked)
    if after is not None:
        query = query.where((DELIVERY.c.message_id > after[0]) | ((DELIVERY.c.message_id == after[0]) & (DELIVERY.c.ordinal > after[1])))
    rows = connection.execute(query.order_by(DELIVERY.c.message_id, DELIVERY.c.ordinal).limit(PAGE).with_for_update()).all()
    for message_id, ordinal in rows:
        entry = states.QueueEntry("", epoch.policy, epoch.phase, now_us, expires_us)
        states.move(connection, message_id, ordinal, State.UNDECIDED, now_us, entry)
    return (rows[-1][0], rows[-1][1]) if len(rows) == PAGE else None
