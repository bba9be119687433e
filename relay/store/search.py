"""Finds deliveries by what people know of them: sender, recipient, Message-ID, time, rule. Pages by key, newest first."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, and_, cast, or_, select

from relay.model.address import address_key, domain_key
from relay.model.delivery import State
from relay.model.ids import id_time_us
from relay.store.tables import Delivery, Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]

Key = tuple[uuid.UUID, int]
"""A delivery: message id and ordinal."""


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


def find(connection: Connection, search: Search, after: Key | None, limit: int) -> Sequence[Any]:
    """Rows of delivery joined to message (`m_` before the message's columns), newest message first."""
    columns = [*DELIVERY.c, *(column.label(f"m_{column.name}") for column in MESSAGE.c)]
    query = select(*columns).join(MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id).where(*_terms(search))
    if after is not None:
        same = and_(DELIVERY.c.message_id == after[0], DELIVERY.c.ordinal > after[1])
        query = query.where(or_(DELIVERY.c.message_id < after[0], same))
    return connection.execute(query.order_by(DELIVERY.c.message_id.desc(), DELIVERY.c.ordinal).limit(limit)).all()


def _terms(search: Search) -> list[ColumnElement[bool]]:
    terms: list[ColumnElement[bool]] = []
    if search.ids:
        terms.append(or_(*(_identity(message, ordinal) for message, ordinal in search.ids)))
    if search.states:
        terms.append(DELIVERY.c.state.in_([state.value for state in search.states]))
    if search.sender is not None:
        terms.append(_address(MESSAGE.c.sender, search.sender))
    if search.recipient is not None:
        terms.append(_address(DELIVERY.c.recipient, search.recipient))
    if search.client is not None:
        terms.append(MESSAGE.c.client == search.client)
    if search.message_id is not None:
        terms.append(MESSAGE.c.header_message_id == search.message_id)
    if search.rule is not None:
        terms.append(cast(DELIVERY.c.rules, String).contains(f'"rule": "{search.rule}"', autoescape=True))
    # An id begins with the time at which it was made, so that a time is a range of the primary key.
    if search.since_us is not None:
        terms.append(DELIVERY.c.message_id >= _first_id(search.since_us))
    if search.until_us is not None:
        terms.append(DELIVERY.c.message_id < _first_id(search.until_us))
    return terms


def _identity(message: uuid.UUID, ordinal: int | None) -> ColumnElement[bool]:
    where: ColumnElement[bool] = DELIVERY.c.message_id == message
    return where if ordinal is None else and_(where, DELIVERY.c.ordinal == ordinal)


def _address(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """An address, `@domain` for all of a domain, `<>` for the null reverse-path."""
    if text == "<>":
        return column == ""
    if text.startswith("@"):
        return column.endswith("@" + domain_key(text[1:]), autoescape=True)
    return column == address_key(text)


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
