"""What may be forgotten, in bounded steps: bodies, then records. What waits, and what somebody said to keep, is never among it.

The ids and commitments of events stay for ever; what they committed to is erased by `relay.audit.event.erase`.
"""

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    TextClause,
    Uuid,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from relay.audit.event import erase
from relay.model.delivery import WAITING, State
from relay.store import states
from relay.store.tables import Approval, Control, Delivery, EventRecord, Kept, Message, Notification
from relay.store.tables import Request as RequestTable

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
NOTIFICATION = Notification.__table__  # type: ignore[attr-defined]
KEPT = Kept.__table__  # type: ignore[attr-defined]
REQUEST = RequestTable.__table__  # type: ignore[attr-defined]
APPROVAL = Approval.__table__  # type: ignore[attr-defined]
CONTROL = Control.__table__  # type: ignore[attr-defined]
PROGRESS = "retention"
"""The row of `control` that says up to which event records were looked through."""


def first_id(time_us: int) -> uuid.UUID:
    """The smallest UUIDv7 of a moment (RFC 9562 §5.7)."""
    return uuid.UUID(int=max(time_us, 0) // 1000 << 80)


def _may_go(before_us: int) -> ColumnElement[bool]:
    """Received before then, every recipient done before then, and nobody said to keep it."""
    late = or_(DELIVERY.c.state.in_(sorted(WAITING)), DELIVERY.c.changed_us >= before_us)
    return and_(
        MESSAGE.c.id < first_id(before_us),
        ~exists().where(DELIVERY.c.message_id == MESSAGE.c.id, late),
        ~exists().where(KEPT.c.message_id == MESSAGE.c.id),
    )


@dataclass(frozen=True, slots=True)
class Looked:
    """`ids` may go; `next` is where to go on, None at the end."""

    ids: list[uuid.UUID]
    next: uuid.UUID | None


def bodies_due(connection: Connection, before_us: int, after: uuid.UUID | None, limit: int) -> Looked:
    """Looks at the next `limit` messages with a body. It changes nothing."""
    return _due(connection, MESSAGE.c.spool_object.is_not(None), before_us, after, limit)


def records_due(connection: Connection, before_us: int, after: uuid.UUID | None, limit: int) -> Looked:
    """Looks at the next `limit` messages without a body: bodies go first. It changes nothing."""
    return _due(connection, MESSAGE.c.spool_object.is_(None), before_us, after, limit)


def _due(connection: Connection, which: ColumnElement[bool], before_us: int, after: uuid.UUID | None, limit: int) -> Looked:
    terms = [which, MESSAGE.c.id < first_id(before_us)]
    if after is not None:
        terms.append(MESSAGE.c.id > after)
    border = connection.execute(select(MESSAGE.c.id).where(*terms).order_by(MESSAGE.c.id).limit(1).offset(limit - 1)).scalar()
    if border is not None:
        terms.append(MESSAGE.c.id <= border)
    ids = connection.execute(select(MESSAGE.c.id).where(*terms, _may_go(before_us)).order_by(MESSAGE.c.id)).scalars().all()
    return Looked(list(ids), border)


def erase_bodies(connection: Connection, ids: Sequence[uuid.UUID], before_us: int) -> list[str]:
    """Takes the bodies out of the record, and gives their names: to be discarded after the commit. A crash in between leaves orphans, which
    the sweep finds."""
    rows = _locked(connection, ids, before_us)
    connection.execute(update(MESSAGE).where(MESSAGE.c.id.in_([row.id for row in rows])).values(spool_object=None))
    return [row.spool_object for row in rows if row.spool_object is not None]


def _locked(connection: Connection, ids: Sequence[uuid.UUID], before_us: int) -> list[Any]:
    """Those that may still go: somebody may have said to keep one since it was looked at, under the same lock."""
    connection.execute(select(MESSAGE.c.id).where(MESSAGE.c.id.in_(ids)).order_by(MESSAGE.c.id).with_for_update()).all()
    query = select(MESSAGE.c.id, MESSAGE.c.spool_object).where(MESSAGE.c.id.in_(ids), _may_go(before_us))
    return list(connection.execute(query).all())


def read_ahead(connection: Connection, ids: Sequence[uuid.UUID]) -> None:
    """Reads the pages of all indexes that erasing these records will change, so that they are in memory then: on SQLite all mail waits for
    a commit, which in a large store would mostly wait for the disk. Elsewhere it does nothing."""
    if connection.dialect.name == "sqlite":
        for statement in _AHEAD:
            connection.execute(statement, {"ids": ids})


def _ahead(table: Any, key: str) -> Iterator[TextClause]:
    """By the index that is named, and no other: it holds all that is asked for, so that nothing else is read."""
    for index in table.indexes:
        if index.dialect_options["sqlite"]["where"] is None:
            same = " AND ".join(f"found.{column.name} = old.{column.name}" for column in index.columns)
            found = f"{table.name} AS found INDEXED BY {index.name} ON {same}"
            query = f"SELECT count(*) FROM {table.name} AS old CROSS JOIN {found} WHERE old.{key} IN :ids"  # noqa: S608 - our names
            yield text(query).bindparams(bindparam("ids", expanding=True, type_=Uuid()))


_AHEAD: tuple[Executable, ...] = (
    *_ahead(MESSAGE, "id"),
    *_ahead(DELIVERY, "message_id"),
    select(func.sum(func.length(RECORD.c.canonical))).where(RECORD.c.message_id.in_(bindparam("ids", expanding=True))),
)


def erase_records(connection: Connection, ids: Sequence[uuid.UUID], before_us: int) -> Counter[str]:
    """Message, recipients and requests go, and what events said of them; the balance counts the recipients as erased. Gives how many."""
    gone = [row.id for row in _locked(connection, ids, before_us) if row.spool_object is None]
    counts: Counter[str] = Counter(messages=len(gone))
    by_state = select(DELIVERY.c.state, func.count()).where(DELIVERY.c.message_id.in_(gone)).group_by(DELIVERY.c.state)
    numbers = {State(state): number for state, number in connection.execute(by_state)}
    counts["recipients"] = count_erased(connection, numbers)
    connection.execute(delete(NOTIFICATION).where(NOTIFICATION.c.message_id.in_(gone)))
    asked = select(REQUEST.c.id).where(REQUEST.c.message_id.in_(gone))
    connection.execute(delete(APPROVAL).where(APPROVAL.c.request_id.in_(asked)))
    connection.execute(delete(REQUEST).where(REQUEST.c.message_id.in_(gone)))
    told = select(RECORD.c.event_id).where(RECORD.c.message_id.in_(gone), func.length(RECORD.c.canonical) > 0)
    counts["records"] = erase(connection, connection.execute(told).scalars().all())
    connection.execute(delete(DELIVERY).where(DELIVERY.c.message_id.in_(gone)))
    connection.execute(delete(MESSAGE).where(MESSAGE.c.id.in_(gone)))
    return counts


def count_erased(connection: Connection, numbers: dict[State, int]) -> int:
    """Moves the running counts of deliveries whose rows go in this transaction; gives how many there are."""
    for state, number in numbers.items():
        states.count(connection, state.value, -number)
    total = sum(numbers.values())
    states.count(connection, states.ERASED, total - numbers.get(State.REFUSED, 0))
    return total


def erase_events(connection: Connection, before_us: int, limit: int) -> tuple[int, uuid.UUID | None]:
    """What the next `limit` events before then committed to, but for those of messages that are still there. Each is looked at once:
    how far it came is in the store. Gives how many were erased, and where it goes on, None at the end."""
    after = _progress(connection)
    terms = [RECORD.c.event_id < first_id(before_us)]
    if after is not None:
        terms.append(RECORD.c.event_id > after)
    there = exists().where(MESSAGE.c.id == RECORD.c.message_id)
    query = select(RECORD.c.event_id, func.length(RECORD.c.canonical).label("length"), there.label("there")).where(*terms)
    rows = connection.execute(query.order_by(RECORD.c.event_id).limit(limit)).all()
    if not rows:
        return 0, None
    erased = erase(connection, [row.event_id for row in rows if row.length and not row.there])
    _set_progress(connection, rows[-1].event_id)
    return erased, rows[-1].event_id if len(rows) == limit else None


def events_due(connection: Connection, before_us: int, after: uuid.UUID | None, limit: int) -> tuple[int, uuid.UUID | None]:
    """How many of the next `limit` records would be erased whose events belong to no message, and where to go on. It changes nothing."""
    start = after or _progress(connection)
    terms = [RECORD.c.event_id < first_id(before_us)]
    if start is not None:
        terms.append(RECORD.c.event_id > start)
    query = select(RECORD.c.event_id, RECORD.c.message_id, func.length(RECORD.c.canonical).label("length")).where(*terms)
    rows = connection.execute(query.order_by(RECORD.c.event_id).limit(limit)).all()
    number = sum(bool(row.length) and row.message_id is None for row in rows)
    return number, rows[-1].event_id if len(rows) == limit else None


def _progress(connection: Connection) -> uuid.UUID | None:
    value = connection.execute(select(CONTROL.c.value).where(CONTROL.c.name == PROGRESS)).scalar()
    return uuid.UUID(value["events"]) if value else None


def _set_progress(connection: Connection, event: uuid.UUID) -> None:
    value = {"events": event.hex}
    if connection.execute(update(CONTROL).where(CONTROL.c.name == PROGRESS).values(value=value)).rowcount == 0:
        connection.execute(insert(CONTROL).values(name=PROGRESS, value=value, epoch=1))


def may_erase_records(connection: Connection) -> bool:
    """On PostgreSQL only the owner of the tables may."""
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.execute(select(func.has_table_privilege("message", "DELETE"))).scalar())
