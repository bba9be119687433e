"""Messages: find them, and show the whole journey of one. Reading is named in the audit like any other act (promise 8)."""

import asyncio
import base64
import json
import uuid
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, select

from relay.audit.event import write
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.page import page_of
from relay.control.params import Listing, Reasoned, Text, parsed
from relay.control.person import person_event
from relay.model.delivery import State
from relay.model.errors import OperationRefused
from relay.store.search import shown
from relay.store.tables import Delivery, EventRecord, Kept, Message, Notification, Queue
from relay.store.tables import Request as RequestTable

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
QUEUE = Queue.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
KEPT = Kept.__table__  # type: ignore[attr-defined]
TOLD = Notification.__table__  # type: ignore[attr-defined]
REQUEST = RequestTable.__table__  # type: ignore[attr-defined]
PIECE = 4 * 1024 * 1024


class Finding(Listing):
    """A search with its reason."""

    reason: str


class One(Reasoned):
    """One message by its id in hex, or by the commitment that a 250 or a Received field holds."""

    id: Text = Field(max_length=100)


class Content(One):
    """A piece of the content, from `offset` (octets) on."""

    offset: int = Field(default=0, ge=0, lt=2**63)


async def _find(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Finding, params)
    try:
        states = tuple(State(text) for text in asked.states)
    except ValueError:
        raise OperationRefused(f"states are {', '.join(State)}") from None
    answer = await page_of(services, asked, states)
    details = {"filters": asked.filters.told()}
    await _told(services, actor, "message-search", "messages", f"{len(answer['rows'])} rows", asked.reason, None, details)
    return answer


async def _show(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    return (await read_journey(services, actor, parsed(One, params)))[0]


async def read_journey(services: Services, actor: Actor, asked: One) -> tuple[dict[str, Any], uuid.UUID]:
    """The journey of a message and its id; that it was read is in the audit before it is given."""
    identity = await services.reader.read(partial(identity_of, text=asked.id))
    journey = await services.reader.read(partial(journey_of, identity=identity))
    await told_of_reading(services, actor, f"message {identity.hex}", "shown", asked.reason, identity)
    return journey, identity


async def told_of_reading(services: Services, actor: Actor, what: str, result: str, reason: str, identity: uuid.UUID) -> None:
    """Whoever reads of a message is named (promise 8)."""
    await _told(services, actor, "message-read", what, result, reason, identity, {})


async def _content(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """The vault: a piece of the decrypted message, for a named person and reason. Every piece is an event."""
    asked = parsed(Content, params)
    identity = await services.reader.read(partial(identity_of, text=asked.id))
    row = await services.reader.read(lambda connection: connection.execute(select(MESSAGE).where(MESSAGE.c.id == identity)).one())
    if row.spool_object is None:
        raise OperationRefused("no body is kept of this message: it was refused, or erased")
    piece = await asyncio.to_thread(_read, services, row.spool_object, asked.offset)
    details = {"offset": asked.offset, "octets": len(piece)}
    await _told(services, actor, "content-read", f"message {identity.hex}", "decrypted", asked.reason, identity, details)
    return {"size": row.size, "digest": row.digest, "offset": asked.offset, "data": base64.b64encode(piece).decode("ascii")}


def _read(services: Services, name: str, offset: int) -> bytes:
    reader = services.spool.open(name)
    try:
        piece = b""
        for chunk in reader.chunks(offset):
            piece += chunk
            if len(piece) >= PIECE:
                break
        return piece[:PIECE]
    finally:
        reader.close()


async def _told(
    services: Services, actor: Actor, kind: str, object_: str, result: str, reason: str, message: uuid.UUID | None, details: dict[str, Any]
) -> None:
    event = person_event(services, actor, kind, object_=object_, result=result, reason=reason, message_id=message, details=details)
    await services.journal.submit(lambda connection: write(connection, [event]))


def identity_of(connection: Connection, text: str) -> uuid.UUID:
    """The id of a message by what people have of it. Raises OperationRefused."""
    plain = text.strip().lower()
    if len(plain) == 64:
        found = connection.execute(select(MESSAGE.c.id).where(MESSAGE.c.commitment == plain)).scalar_one_or_none()
    else:
        try:
            wanted = uuid.UUID(plain)
        except ValueError:
            raise OperationRefused(f"'{text}' is neither a message id nor a commitment") from None
        found = connection.execute(select(MESSAGE.c.id).where(MESSAGE.c.id == wanted)).scalar_one_or_none()
    if found is None:
        raise OperationRefused(f"no message {plain}")
    identity: uuid.UUID = found
    return identity


def journey_of(connection: Connection, identity: uuid.UUID) -> dict[str, Any]:
    """All that the record holds of one message, in plain JSON values: `message`, `deliveries`, `events` (oldest first),
    `notices`, `requests`."""
    message = connection.execute(select(MESSAGE).where(MESSAGE.c.id == identity)).one()
    columns = [*DELIVERY.c, *(column.label(f"m_{column.name}") for column in MESSAGE.c)]
    query = select(*columns).join(MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id).where(DELIVERY.c.message_id == identity)
    deliveries = connection.execute(query.order_by(DELIVERY.c.ordinal)).all()
    waiting = {row.ordinal: row for row in connection.execute(select(QUEUE).where(QUEUE.c.message_id == identity))}
    events = connection.execute(select(RECORD).where(RECORD.c.message_id == identity).order_by(RECORD.c.event_id)).all()
    kept = connection.execute(select(KEPT).where(KEPT.c.message_id == identity)).first()
    told = connection.execute(select(TOLD).where(TOLD.c.message_id == identity).order_by(TOLD.c.rule, TOLD.c.address)).all()
    requests = connection.execute(select(REQUEST).where(REQUEST.c.message_id == identity).order_by(REQUEST.c.id)).all()
    return {
        "message": {
            **{name: value for name, value in message._mapping.items() if name not in ("id", "spool_object")},
            "id": identity.hex,
            "has_body": message.spool_object is not None,
            "kept": {"actor": kept.actor, "reason": kept.reason, "kept_us": kept.kept_us} if kept else None,
        },
        "deliveries": [
            {
                **shown(row),
                "envelope": row.envelope,
                "matches": row.rules,
                "observed": row.observed or [],
                "route": row.route,
                "outcome": row.outcome,
                "release": row.release,
                "effects": row.effects,
                "next_us": waiting[row.ordinal].next_us if row.ordinal in waiting else None,
                "expires_us": waiting[row.ordinal].expires_us if row.ordinal in waiting else None,
            }
            for row in deliveries
        ],
        "events": [json.loads(row.canonical) if row.canonical else {"id": str(row.event_id), "kind": "erased"} for row in events],
        "notices": [{"rule": row.rule, "address": row.address, "notice": row.notice_id.hex, "result": row.result} for row in told],
        "requests": [
            {"id": row.id.hex, "kind": row.kind, "actor": row.actor, "reason": row.reason, "state": row.state, "details": row.details}
            for row in requests
        ],
    }


OPERATIONS = (
    Operation("message.find", Role.REVIEW, _find),
    Operation("message.show", Role.REVIEW, _show),
    Operation("message.content", Role.REVIEW, _content),
)
