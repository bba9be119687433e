"""Finds deliveries by what people know of them: sender, recipient, Message-ID, time, rule. Pages by key, newest first."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, String, Uuid, and_, any_, cast, literal, or_, select

from relay.model.address import address_key, domain_key
from relay.model.delivery import State
from relay.model.ids import id_time_us
from relay.store.along import along, spans
from relay.store.tables import Delivery, Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]

Key = tuple[uuid.UUID, int]
"""A delivery: message id and ordinal."""
DAY_US = 86_400 * 1_000_000
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
    deadline = time.monotonic() + seconds
    way = _narrowest(connection, search, after)
    step = min(max(limit, MIN_STEP), MAX_STEP)
    rows = []
    while True:
        begun = time.monotonic()
        candidates = way(after, step, None)
        rows += _read(connection, search, after, limit - len(rows), candidates)
        if len(rows) == limit:
            return Found(rows, _key(rows[-1]))
        if len(candidates) < step:
            return Found(rows, None)
        after = (candidates[-1], MAX_ORDINAL)
        now = time.monotonic()
        if now > deadline:
            return Found(rows, after)
        fitting = int(step * (deadline - now) / (now - begun))
        step = min(4 * step, MAX_STEP, max(fitting, MIN_STEP))


def _key(row: Any) -> Key:
    return row.message_id, row.ordinal


def _read(connection: Connection, search: Search, after: Key | None, limit: int, candidates: list[uuid.UUID] | None) -> list[Any]:
    """Rows of the candidates that fit in every respect."""
    columns = [*DELIVERY.c, *(column.label(f"m_{column.name}") for column in MESSAGE.c)]
    query = select(*columns).join(MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id).where(*_terms(search))
    if candidates is not None:
        ids = list(dict.fromkeys(candidates))
        # Said of both tables: PostgreSQL leaves out partitions by what is said of each.
        query = query.where(_among(connection, DELIVERY.c.message_id, ids), _among(connection, MESSAGE.c.id, ids))
    if after is not None:
        same = and_(DELIVERY.c.message_id == after[0], DELIVERY.c.ordinal > after[1])
        query = query.where(or_(DELIVERY.c.message_id < after[0], same))
    return list(connection.execute(query.order_by(DELIVERY.c.message_id.desc(), DELIVERY.c.ordinal).limit(limit)))


def _among(connection: Connection, column: Any, ids: list[uuid.UUID]) -> ColumnElement[bool]:
    """PostgreSQL takes them as one value: hundreds of them one by one cost more to read than the rows."""
    if connection.dialect.name == "sqlite":
        return column.in_(ids)  # type: ignore[no-any-return]
    return column == any_(literal(ids, ARRAY(Uuid())))  # type: ignore[no-any-return]


Way = Callable[[Key | None, int, int | None], list[uuid.UUID]]
"""Message ids of one index behind a key, newest first, at most so many, from so many of the `spans` (None: all); a message with several
recipients may come several times."""


def _ways(connection: Connection, search: Search) -> list[Way]:
    """The indexes that can be used, those that fit few as a rule first."""
    wanted: list[list[tuple[Any, str, Any]]] = []
    if search.message_id is not None:
        wanted.append([(MESSAGE.c.header_message_id, search.message_id, MESSAGE.c.id)])
    if search.recipient is not None:
        wanted.append([(*_address(DELIVERY.c.recipient, DELIVERY.c.recipient_domain, search.recipient), DELIVERY.c.message_id)])
    if search.sender is not None:
        wanted.append([(*_address(MESSAGE.c.sender, MESSAGE.c.sender_domain, search.sender), MESSAGE.c.id)])
    if search.states:
        wanted.append([(DELIVERY.c.state, state.value, DELIVERY.c.message_id) for state in search.states])
    if search.client is not None:
        wanted.append([(MESSAGE.c.client, search.client, MESSAGE.c.id)])
    # An id begins with the time at which it was made, so that a time is a range of every index.
    low = _first_id(search.since_us) if search.since_us is not None else None
    high = uuid.UUID(int=max(_first_id(search.until_us).int - 1, 0)) if search.until_us is not None else None

    if high is None and connection.dialect.name == "postgresql":
        high = _newest(connection)

    def end(after: Key | None) -> uuid.UUID | None:
        return min((bound for bound in (high, after and after[0]) if bound is not None), default=None)

    def way(branches: list[tuple[Any, str, Any]]) -> Way:
        def candidates(after: Key | None, limit: int, parts: int | None) -> list[uuid.UUID]:
            found: list[uuid.UUID] = []
            for first, last in spans(connection, low, end(after))[:parts]:
                for column, value, key in branches:
                    found += connection.execute(
                        along(connection, column, value, key, newest=True, low=first, high=last).limit(limit)
                    ).scalars()
                if len(found) >= limit:
                    break
            return sorted(found, reverse=True)[:limit]

        return candidates

    def everything(after: Key | None, limit: int, parts: int | None) -> list[uuid.UUID]:
        found: list[uuid.UUID] = []
        for first, last in spans(connection, low, end(after))[:parts]:
            bounds = [MESSAGE.c.id >= first] if first is not None else []
            bounds += [MESSAGE.c.id <= last] if last is not None else []
            query = select(MESSAGE.c.id).where(*bounds).order_by(MESSAGE.c.id.desc())
            found += connection.execute(query.limit(limit - len(found))).scalars()
            if len(found) >= limit:
                break
        return found

    return [way(branches) for branches in wanted] or [everything]


def _newest(connection: Connection) -> uuid.UUID | None:
    """The last message of the store; a clock that was ahead may have written it into a month to come."""
    query = select(MESSAGE.c.id).order_by(MESSAGE.c.id.desc()).limit(1)
    yesterday = MESSAGE.c.id >= _first_id(time.time_ns() // 1000 - DAY_US)  # leaves out the months behind us
    return connection.execute(query.where(yesterday)).scalar() or connection.execute(query).scalar()


def _narrowest(connection: Connection, search: Search, after: Key | None) -> Way:
    """Looks how many each has left, and at no more than MAX_STEP of them: of the newest months, where each has some there."""
    ways = _ways(connection, search)
    if len(ways) == 1:
        return ways[0]
    numbers: list[int] = []
    for parts in (1, None) if connection.dialect.name == "postgresql" else (None,):
        numbers = [len(way(after, MAX_STEP, parts)) for way in ways]
        if min(numbers):
            break
    return ways[numbers.index(min(numbers))]


def _terms(search: Search) -> list[ColumnElement[bool]]:
    terms: list[ColumnElement[bool]] = []
    if search.ids:
        terms.append(or_(*(_identity(message, ordinal) for message, ordinal in search.ids)))
    if search.states:
        terms.append(DELIVERY.c.state.in_([state.value for state in search.states]))
    if search.sender is not None:
        column, value = _address(MESSAGE.c.sender, MESSAGE.c.sender_domain, search.sender)
        terms.append(column == value)
    if search.recipient is not None:
        column, value = _address(DELIVERY.c.recipient, DELIVERY.c.recipient_domain, search.recipient)
        terms.append(column == value)
    if search.client is not None:
        terms.append(MESSAGE.c.client == search.client)
    if search.message_id is not None:
        terms.append(MESSAGE.c.header_message_id == search.message_id)
    if search.rule is not None:
        terms.append(names_rule(search.rule))
    if search.since_us is not None:
        terms.append(DELIVERY.c.message_id >= _first_id(search.since_us))
    if search.until_us is not None:
        terms.append(DELIVERY.c.message_id < _first_id(search.until_us))
    return terms


def names_rule(rule: str) -> ColumnElement[bool]:
    """Whether a delivery met this rule. Rows of before 0004 have a space in their JSON."""
    rules = cast(DELIVERY.c.rules, String)
    return or_(*(rules.contains(f'"rule":{space}"{rule}"', autoescape=True) for space in ("", " ")))


def _identity(message: uuid.UUID, ordinal: int | None) -> ColumnElement[bool]:
    where: ColumnElement[bool] = DELIVERY.c.message_id == message
    return where if ordinal is None else and_(where, DELIVERY.c.ordinal == ordinal)


def _address(address: Any, domain: Any, text: str) -> tuple[Any, str]:
    """The column that must be equal, and to what: an address, `@domain` for all of a domain, `<>` for the null reverse-path."""
    if text == "<>":
        return address, ""
    if text.startswith("@"):
        return domain, domain_key(text[1:])
    return address, address_key(text)


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
