"""Finds deliveries by what people know of them: sender, recipient, Message-ID, time, rule. Pages by key, newest first."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, and_, cast, func, or_, select, union_all

from relay.model.address import address_key, domain_key
from relay.model.delivery import State
from relay.model.ids import id_time_us
from relay.store.tables import Delivery, Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]

Key = tuple[uuid.UUID, int]
"""A delivery: message id and ordinal."""
MAX_ORDINAL = 2**31 - 1
PAGE_SECONDS = 0.1
"""A person waits for a page; a search that fits little goes on with the next one."""
MIN_STEP, MAX_STEP = 100, 2000
"""Candidates that one query looks at."""


@dataclass(frozen=True, slots=True)
class Search:
    """Everything given must fit. `ids` name messages, or one delivery where the ordinal is given; `sender` and `recipient` are an address
    or `@domain`; times are microseconds since 1970 UTC, `until_us` exclusive."""

    ids: tuple[tuple[uuid.UUID, int | None], ...] = ()
    states: tuple[State, ...] = ()
    sender: str | None = None
    recipient: str | None = None
    client: str | None = None
    message_id: str | None = None
    rule: str | None = None
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """`rows` of delivery joined to message (`m_` before the message's columns), newest message first; `next` is where to go on, None at the
    end. There may be fewer rows than were asked for, and more behind them: what was looked at is bounded, not what is found."""

    rows: list[Any]
    next: Key | None


def find(connection: Connection, search: Search, after: Key | None, limit: int) -> Sequence[Any]:
    """All rows behind `after`, at most `limit`, however long it takes: for searches that are known to be narrow."""
    rows: list[Any] = []
    while True:
        found = page(connection, search, after, limit - len(rows), seconds=1.0)
        rows += found.rows
        after = found.next
        if after is None or len(rows) == limit:
            return rows


def page(connection: Connection, search: Search, after: Key | None, limit: int, seconds: float = PAGE_SECONDS) -> Found:
    """Rows behind `after`, at most `limit`, and no more than are found in about `seconds`. Of what is searched for, the one that fits the
    fewest gives the candidates, by its index, in steps; the rest is looked at for each of them."""
    if search.ids:
        rows = _read(connection, search, after, limit, None)
        return Found(rows, _key(rows[-1]) if len(rows) == limit else None)
    way = _narrowest(connection, _ways(search), after)
    deadline = time.monotonic() + seconds
    step = max(limit, MIN_STEP)
    rows = []
    while True:
        candidates = way.candidates(after, step)
        border = connection.execute(candidates.offset(step - 1).limit(1)).scalar()
        rows += _read(connection, search, after, limit - len(rows), candidates.limit(step))
        if len(rows) == limit:
            return Found(rows, _key(rows[-1]))
        if border is None:
            return Found(rows, None)
        after = (border, MAX_ORDINAL)
        if time.monotonic() > deadline:
            return Found(rows, after)
        step = min(4 * step, MAX_STEP)


def _key(row: Any) -> Key:
    return row.message_id, row.ordinal


def _read(connection: Connection, search: Search, after: Key | None, limit: int, candidates: Select[Any] | None) -> list[Any]:
    """Rows of the candidates that fit in every respect."""
    columns = [*DELIVERY.c, *(column.label(f"m_{column.name}") for column in MESSAGE.c)]
    query = select(*columns).join(MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id).where(*_terms(search))
    if candidates is not None:
        query = query.where(DELIVERY.c.message_id.in_(select(candidates.subquery().c[0])))
    if after is not None:
        same = and_(DELIVERY.c.message_id == after[0], DELIVERY.c.ordinal > after[1])
        query = query.where(or_(DELIVERY.c.message_id < after[0], same))
    return list(connection.execute(query.order_by(DELIVERY.c.message_id.desc(), DELIVERY.c.ordinal).limit(limit)))


@dataclass(frozen=True, slots=True)
class _Way:
    """One index: `column` is the message id in it, behind what each of `branches` makes equal to something."""

    column: Any
    branches: tuple[tuple[ColumnElement[bool], ...], ...]
    bounds: tuple[Callable[[Any], ColumnElement[bool]], ...]

    def candidates(self, after: Key | None, limit: int) -> Select[Any]:
        """Message ids, newest first, some more than once; each branch is cut off at `limit`, so that it is read no further."""
        terms = [bound(self.column) for bound in self.bounds]
        if after is not None:
            terms.append(self.column <= after[0])
        if len(self.branches) == 1:
            return select(self.column).where(*self.branches[0], *terms).order_by(self.column.desc())
        parts = [select(self.column.label("id")).where(*own, *terms).order_by(self.column.desc()).limit(limit) for own in self.branches]
        united = union_all(*(select(part.subquery()) for part in parts)).subquery()
        return select(united.c.id).order_by(united.c.id.desc())


def _ways(search: Search) -> list[_Way]:
    """The indexes that can be used, those that fit few as a rule first."""
    # An id begins with the time at which it was made, so that a time is a range of every index.
    bounds: list[Callable[[Any], ColumnElement[bool]]] = []
    if search.since_us is not None:
        bounds.append(_at_least(_first_id(search.since_us)))
    if search.until_us is not None:
        bounds.append(_below(_first_id(search.until_us)))
    in_message: list[ColumnElement[bool]] = []
    in_delivery: list[tuple[ColumnElement[bool], ...]] = []
    if search.message_id is not None:
        in_message.append(MESSAGE.c.header_message_id == search.message_id)
    if search.sender is not None:
        in_message.append(_address(MESSAGE.c.sender, MESSAGE.c.sender_domain, search.sender))
    if search.client is not None:
        in_message.append(MESSAGE.c.client == search.client)
    if search.recipient is not None:
        in_delivery.append((_address(DELIVERY.c.recipient, DELIVERY.c.recipient_domain, search.recipient),))
    if search.states:
        in_delivery.append(tuple(DELIVERY.c.state == state.value for state in search.states))
    ways = [_Way(MESSAGE.c.id, ((term,),), tuple(bounds)) for term in in_message]
    ways += [_Way(DELIVERY.c.message_id, tuple((term,) for term in terms), tuple(bounds)) for terms in in_delivery]
    return ways or [_Way(DELIVERY.c.message_id, ((),), tuple(bounds))]


def _at_least(identity: uuid.UUID) -> Callable[[Any], ColumnElement[bool]]:
    return lambda column: column >= identity


def _below(identity: uuid.UUID) -> Callable[[Any], ColumnElement[bool]]:
    return lambda column: column < identity


def _narrowest(connection: Connection, ways: list[_Way], after: Key | None) -> _Way:
    """Looks how many each has left, and at no more than MAX_STEP of them."""
    if len(ways) == 1:
        return ways[0]

    def left(way: _Way) -> int:
        some = way.candidates(after, MAX_STEP).limit(MAX_STEP).subquery()
        return connection.execute(select(func.count()).select_from(some)).scalar() or 0

    return min(ways, key=left)


def _terms(search: Search) -> list[ColumnElement[bool]]:
    terms: list[ColumnElement[bool]] = []
    if search.ids:
        terms.append(or_(*(_identity(message, ordinal) for message, ordinal in search.ids)))
    if search.states:
        terms.append(DELIVERY.c.state.in_([state.value for state in search.states]))
    if search.sender is not None:
        terms.append(_address(MESSAGE.c.sender, MESSAGE.c.sender_domain, search.sender))
    if search.recipient is not None:
        terms.append(_address(DELIVERY.c.recipient, DELIVERY.c.recipient_domain, search.recipient))
    if search.client is not None:
        terms.append(MESSAGE.c.client == search.client)
    if search.message_id is not None:
        terms.append(MESSAGE.c.header_message_id == search.message_id)
    if search.rule is not None:
        terms.append(cast(DELIVERY.c.rules, String).contains(f'"rule": "{search.rule}"', autoescape=True))
    if search.since_us is not None:
        terms.append(DELIVERY.c.message_id >= _first_id(search.since_us))
    if search.until_us is not None:
        terms.append(DELIVERY.c.message_id < _first_id(search.until_us))
    return terms


def _identity(message: uuid.UUID, ordinal: int | None) -> ColumnElement[bool]:
    where: ColumnElement[bool] = DELIVERY.c.message_id == message
    return where if ordinal is None else and_(where, DELIVERY.c.ordinal == ordinal)


def _address(address: ColumnElement[str], domain: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """An address, `@domain` for all of a domain, `<>` for the null reverse-path."""
    if text == "<>":
        return address == ""
    if text.startswith("@"):
        return domain == domain_key(text[1:])
    return address == address_key(text)


def _first_id(time_us: int) -> uuid.UUID:
    """The smallest UUIDv7 of a moment (RFC 9562 §5.7)."""
    return uuid.UUID(int=max(time_us, 0) // 1000 << 80)


def shown(row: Any) -> dict[str, Any]:
    """A row of `find` as plain JSON values, for lists."""
    header = row.m_inspection["header"]
    return {
        "id": row.message_id.hex,
        "ordinal": row.ordinal,
        "received_us": id_time_us(row.message_id),
        "direction": row.m_direction,
        "client": row.m_client,
        "sender": row.m_sender,
        "recipient": row.recipient,
        "subject": header["subject"],
        "message_id": row.m_header_message_id,
        "size": row.m_size,
        "state": row.state,
        "disposition": row.disposition,
        "rules": [match["rule"] for match in row.rules if match["waived_by"] is None and match["disposition"] == row.disposition],
        "because": row.because,
        "attempts": row.attempts,
        "possible_duplicates": row.possible_duplicates,
        "reply": (row.outcome or {}).get("reply", ""),
        "changed_us": row.changed_us,
    }
