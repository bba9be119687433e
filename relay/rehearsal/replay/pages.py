"""Reads the record for replay: where its slices begin and end, and the messages of one, each page a short transaction of its own."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, func, select

from relay.store import states
from relay.store.reader import Reader
from relay.store.tables import Delivery, Event, EventRecord, Message, Tally

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
EVENT = Event.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
TALLY = Tally.__table__  # type: ignore[attr-defined]
SLICE = 5_000
"""Messages that a worker is given at once: a few seconds of work."""
PAGE = 250
"""Messages of one read: some ten milliseconds, and a megabyte."""
EVENTS_PAGE = 20_000
FIRST, LAST = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)

_OF_MESSAGE = tuple(
    MESSAGE.c[name] for name in ("id", "received_us", "client", "peer", "sender", "size", "authorised", "inspection", "recipients")
)
_OF_DELIVERY = tuple(
    DELIVERY.c[name]
    for name in (
        "message_id",
        "ordinal",
        "recipient",
        "envelope",
        "state",
        "disposition",
        "rules",
        "because",
        "route",
        "policy",
        "phase",
        "release",
        "changed_us",
        "decided_us",
        "deferred",
        "inspection",
    )
)


@dataclass(frozen=True, slots=True)
class Slice:
    """Messages from `first` to `last`, both included, `number` of them."""

    first: uuid.UUID
    last: uuid.UUID
    number: int


def first_id(time_us: int) -> uuid.UUID:
    """The smallest UUIDv7 of a moment (RFC 9562 §5.7)."""
    return uuid.UUID(int=max(time_us, 0) // 1000 << 80)


def since_newest(reader: Reader, since_us: int | None, until_us: int | None, number: int) -> int | None:
    """From when on the `number` newest messages of a time were received: `since_us` where there are fewer. Raises StoreError."""
    low, high = _bounds(since_us, until_us)
    query = select(MESSAGE.c.id).where(MESSAGE.c.id >= low, MESSAGE.c.id <= high).order_by(MESSAGE.c.id.desc())
    first = reader.read_now(lambda connection: connection.execute(query.offset(number - 1).limit(1)).scalar())
    return (first.int >> 80) * 1000 if first is not None else since_us


def _bounds(since_us: int | None, until_us: int | None) -> tuple[uuid.UUID, uuid.UUID]:
    low = first_id(since_us) if since_us is not None else FIRST
    return low, uuid.UUID(int=first_id(until_us).int - 1) if until_us else LAST


def slices(reader: Reader, since_us: int | None, until_us: int | None, size: int = SLICE) -> list[Slice]:
    """All messages of a time (microseconds since 1970 UTC, `until_us` exclusive), oldest first. Raises StoreError."""
    low, high = _bounds(since_us, until_us)
    found: list[Slice] = []
    while True:
        here = reader.read_now(lambda connection, low=low: _slice(connection, low, high, size))  # type: ignore[misc]
        if here is None:
            return found
        found.append(here)
        low = uuid.UUID(int=here.last.int + 1)


def _slice(connection: Connection, low: uuid.UUID, high: uuid.UUID, size: int) -> Slice | None:
    ids = select(MESSAGE.c.id).where(MESSAGE.c.id >= low, MESSAGE.c.id <= high).order_by(MESSAGE.c.id).limit(size).subquery()
    # PostgreSQL 15 knows no min() of a uuid, and takes the first and the last of an order.
    first = connection.execute(select(ids.c.id).order_by(ids.c.id).limit(1)).scalar()
    if first is None:
        return None
    number = connection.execute(select(func.count()).select_from(ids)).scalar_one()
    last = connection.execute(select(ids.c.id).order_by(ids.c.id.desc()).limit(1)).scalar_one()
    return Slice(first, last, number)


def messages(reader: Reader, part: Slice, size: int = PAGE) -> Iterator[tuple[Any, list[Any]]]:
    """The rows of each message with those of its recipients, oldest first. Raises StoreError."""
    low = part.first
    while True:
        page = reader.read_now(lambda connection, low=low: _page(connection, low, part.last, size))  # type: ignore[misc]
        yield from page
        if len(page) < size:
            return
        low = uuid.UUID(int=page[-1][0].id.int + 1)


def _page(connection: Connection, low: uuid.UUID, high: uuid.UUID, size: int) -> list[tuple[Any, list[Any]]]:
    found = connection.execute(
        select(*_OF_MESSAGE).where(MESSAGE.c.id >= low, MESSAGE.c.id <= high).order_by(MESSAGE.c.id).limit(size)
    ).all()
    if not found:
        return []
    last = found[-1].id
    query = select(*_OF_DELIVERY).where(DELIVERY.c.message_id >= low, DELIVERY.c.message_id <= last)
    rows = connection.execute(query.order_by(DELIVERY.c.message_id, DELIVERY.c.ordinal)).all()
    deliveries: dict[uuid.UUID, list[Any]] = {identity: list(of) for identity, of in groupby(rows, lambda row: row.message_id)}
    return [(message, deliveries.get(message.id, [])) for message in found]


def erased(reader: Reader, since_us: int | None, until_us: int | None) -> int:
    """Messages of that time that were accepted, and of which nothing but the commitment is left. Raises StoreError."""
    if not reader.read_now(_any_erased):
        return 0
    low = first_id(since_us) if since_us is not None else FIRST
    high = first_id(until_us) if until_us is not None else LAST
    total = 0
    while True:
        ids = reader.read_now(lambda connection, low=low: _events(connection, low, high))  # type: ignore[misc]
        if not ids:
            return total
        total += reader.read_now(lambda connection, ids=ids: _empty(connection, ids[0], ids[-1]))  # type: ignore[misc]
        low = uuid.UUID(int=ids[-1].int + 1)


def _any_erased(connection: Connection) -> bool:
    return bool(connection.execute(select(func.sum(TALLY.c.count)).where(TALLY.c.name == states.ERASED)).scalar())


def _events(connection: Connection, low: uuid.UUID, high: uuid.UUID) -> Sequence[uuid.UUID]:
    query = select(EVENT.c.id).where(EVENT.c.id >= low, EVENT.c.id < high).order_by(EVENT.c.id).limit(EVENTS_PAGE)
    return connection.execute(query).scalars().all()


def _empty(connection: Connection, low: uuid.UUID, high: uuid.UUID) -> int:
    query = (
        select(func.count())
        .select_from(EVENT.join(RECORD, RECORD.c.event_id == EVENT.c.id))
        .where(EVENT.c.id >= low, EVENT.c.id <= high, RECORD.c.event_id >= low, RECORD.c.event_id <= high)
        .where(EVENT.c.kind == "accepted", func.length(RECORD.c.canonical) == 0)
    )
    return int(connection.execute(query).scalar_one())
