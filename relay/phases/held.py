"""What was held comes back at inspect when phase, policy or brake change: in pages, so that a long backlog holds no long transaction."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.store import states
from relay.store.along import along, behind, near
from relay.store.search import names_rule
from relay.store.tables import Delivery

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
Key = tuple[uuid.UUID, int]
"""A delivery: message id and ordinal."""
LOOKED_AT = 1000
PAGE = 50
"""Deliveries in one commit: new mail waits for it."""
BY_POLICY = "hold"
BY_STAFF = "staff-hold"
"""What staff holds stays held until staff lets it go, whatever the phase."""


def stale(connection: Connection, epoch: Epoch, after: uuid.UUID | None, limit: int = LOOKED_AT) -> tuple[list[Key], uuid.UUID | None]:
    """Looks at the next `limit` held deliveries behind message `after`, oldest first, and at the rest of the last one's message. Gives
    those that another epoch held, or the brake; and where to go on, None at the end. It changes nothing.

    The database finds them between two keys: to fetch a thousand, and ask for these, cost it and us 12 ms each."""
    low = behind(after)
    last = None
    for high in dict.fromkeys((near(low), None)):
        last = last or connection.execute(_held(connection, low, high).offset(limit - 1).limit(1)).scalar()
    wanted = _held(connection, low, last).where(
        DELIVERY.c.disposition == BY_POLICY,
        or_(DELIVERY.c.policy != epoch.policy, DELIVERY.c.phase != epoch.phase, names_rule("brake")),
    )
    rows = connection.execute(wanted.with_only_columns(DELIVERY.c.message_id, DELIVERY.c.ordinal))
    return [(row.message_id, row.ordinal) for row in rows], last


def _held(connection: Connection, low: uuid.UUID | None, high: uuid.UUID | None) -> Select[Any]:
    return along(connection, DELIVERY.c.state, State.HELD.value, DELIVERY.c.message_id, low=low, high=high)


def crowded(connection: Connection, limit: int) -> bool:
    """Whether `limit` deliveries or more wait to be decided."""
    some = select(DELIVERY.c.ordinal).where(DELIVERY.c.state == State.UNDECIDED.value).limit(limit).subquery()
    return (connection.execute(select(func.count()).select_from(some)).scalar() or 0) >= limit


def bring_back(connection: Connection, keys: Sequence[Key], epoch: Epoch, now_us: int, expires_us: int) -> int:
    """Moves what policy holds of these to `undecided`; gives how many. Where another process does the same, each is moved by one."""
    wanted = set(keys)
    query = select(DELIVERY.c.message_id, DELIVERY.c.ordinal).where(
        DELIVERY.c.message_id.in_({identity for identity, _ in keys}),
        DELIVERY.c.state == State.HELD.value,
        DELIVERY.c.disposition == BY_POLICY,
    )
    rows = connection.execute(query.order_by(DELIVERY.c.message_id, DELIVERY.c.ordinal).with_for_update()).all()
    found = [(row.message_id, row.ordinal) for row in rows if (row.message_id, row.ordinal) in wanted]
    for message_id, ordinal in found:
        entry = states.QueueEntry("", epoch.policy, epoch.phase, now_us, expires_us)
        states.move(connection, message_id, ordinal, State.UNDECIDED, now_us, entry)
    return len(found)
