"""Names what may be delivered twice after a store went back in time: everything that waits in it."""

import uuid

from sqlalchemy import Connection, select, update

from relay.model.delivery import WAITING
from relay.store.tables import Delivery

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
PAGE = 2000


def name_possible_duplicates(connection: Connection, after: uuid.UUID | None) -> uuid.UUID | None:
    """One page of deliveries that wait: what became of them later is not known here, so that they may have left already (promise 1: the
    record names it). Gives where to go on, or None at the end."""
    query = select(DELIVERY.c.message_id).where(DELIVERY.c.state.in_(sorted(WAITING)), DELIVERY.c.possible_duplicates == 0)
    if after is not None:
        query = query.where(DELIVERY.c.message_id > after)
    found = connection.execute(query.distinct().order_by(DELIVERY.c.message_id).limit(PAGE)).scalars().all()
    if found:
        waits = DELIVERY.c.state.in_(sorted(WAITING)) & (DELIVERY.c.possible_duplicates == 0)
        between = (DELIVERY.c.message_id >= found[0]) & (DELIVERY.c.message_id <= found[-1])
        connection.execute(update(DELIVERY).where(waits, between).values(possible_duplicates=1))
    return found[-1] if len(found) == PAGE else None
