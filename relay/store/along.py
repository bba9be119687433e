"""Walks one index (column, id) in its order: all that has one value, oldest or newest first."""

import uuid
from typing import Any

from sqlalchemy import Connection, Select, select, tuple_

FIRST, LAST = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)
DAY_MS = 86_400_000
NEWEST_DAYS = 62
"""At least one whole month with what there is of the newest."""


def along(
    connection: Connection,
    column: Any,
    value: str,
    key: Any,
    *,
    newest: bool = False,
    low: uuid.UUID | None = None,
    high: uuid.UUID | None = None,
) -> Select[Any]:
    """Keys of what has `value` in `column`, from `low` to `high` (both inclusive); no more is read than is asked for with `limit`.

    Said plainly, with `=`, PostgreSQL sees that the order is that of the primary key as well, and may walk that in search of a value which
    it believes to be common: through ten million rows, where those that have it all lie at the other end. A pair it can only find in the
    one index. SQLite takes the index of an `=`, and would use only the half of a pair."""
    bounds = [*([key >= low] if low is not None else []), *([key <= high] if high is not None else [])]
    order = key.desc() if newest else key
    if connection.dialect.name == "sqlite":
        return select(key).where(column == value, *bounds).order_by(order)
    pair = tuple_(column, key)
    within = (pair >= tuple_(value, low or FIRST), pair <= tuple_(value, high or LAST))
    return select(key).where(*within, *bounds).order_by(column.desc() if newest else column, order)


def spans(connection: Connection, low: uuid.UUID | None, high: uuid.UUID | None) -> list[tuple[uuid.UUID | None, uuid.UUID | None]]:
    """The range between two ids (bounds inclusive) in parts, newest first: who has found enough in one leaves the others. PostgreSQL plans
    a query over every partition that its bounds don't exclude: 6 ms for the fifty months of a table, and 30 ms where a connection sees
    them for the first time. What people look for lies mostly in the newest. SQLite has no partitions, and gets one part."""
    if connection.dialect.name == "sqlite":
        return [(low, high)]
    bottom, top = (low or FIRST).int, (high or LAST).int
    border = top - (NEWEST_DAYS * DAY_MS << 80)  # a UUIDv7 begins with its time, of 48 bits (RFC 9562 §5.7)
    if border <= bottom:
        return [(low, high)]
    return [(uuid.UUID(int=border), high), (low, uuid.UUID(int=border - 1))]


def near(low: uuid.UUID | None) -> uuid.UUID | None:
    """NEWEST_DAYS behind an id: to look as far first, oldest first, has the others not planned where that is enough."""
    return uuid.UUID(int=min(low.int + (NEWEST_DAYS * DAY_MS << 80), LAST.int)) if low is not None else None


def behind(identity: uuid.UUID | None) -> uuid.UUID | None:
    """The lowest id above this one."""
    return uuid.UUID(int=identity.int + 1) if identity is not None else None
