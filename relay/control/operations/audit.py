"""The events: list them, and recompute every commitment."""

import json
import uuid
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, Select, select, union_all

from relay.audit import event
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.params import MAX_PAGE, PAGE, Microseconds, Reasoned, Strict, Text, parsed
from relay.control.person import person_event
from relay.model.errors import OperationRefused
from relay.store.tables import ORDINARY_EVENTS, RARE_EVENTS, Event, EventRecord

EVENT = Event.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
CHECK_PAGE = 1000


class Listing(Reasoned):
    """A page of events after the event `after`: oldest first, or newest first."""

    kinds: list[Text] = Field(default=[], max_length=100)
    message: Text | None = None
    since_us: Microseconds | None = None
    after: Text | None = None
    newest: bool = False
    limit: int = Field(default=PAGE, ge=1, le=MAX_PAGE)


class Checking(Strict):
    """A page of the check."""

    after: str | None = None


async def _list(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Listing, params)
    rows = await services.reader.read(partial(_page, asked=asked))
    details = {"kinds": asked.kinds, "message": asked.message or ""}
    told = person_event(services, actor, "audit-read", object_="events", result=f"{len(rows)} events", reason=asked.reason, details=details)
    await services.journal.submit(lambda connection: event.write(connection, [told]))
    return {"rows": rows, "next": rows[-1]["event"] if len(rows) == asked.limit else None}


def _page(connection: Connection, asked: Listing) -> list[dict[str, Any]]:
    order = EVENT.c.id.desc() if asked.newest else EVENT.c.id
    terms: list[ColumnElement[bool]] = []
    if asked.since_us is not None:
        terms.append(EVENT.c.id >= uuid.UUID(int=max(asked.since_us, 0) // 1000 << 80))
    if asked.after is not None:
        after = _identity(asked.after)
        terms.append(EVENT.c.id < after if asked.newest else EVENT.c.id > after)
    query = select(EVENT.c.id, EVENT.c.kind, EVENT.c.commitment, RECORD.c.canonical).join(
        RECORD, RECORD.c.event_id == EVENT.c.id, isouter=True
    )
    if asked.message is not None:
        query = query.where(RECORD.c.message_id == _identity(asked.message), *terms)
        query = query.where(EVENT.c.kind.in_(asked.kinds)) if asked.kinds else query
    elif asked.kinds:
        query = query.where(EVENT.c.id.in_(select(_of_kinds(asked, terms, order).subquery())))
    else:
        query = query.where(*terms)
    return [
        {
            "event": row.id.hex,
            "kind": row.kind,
            "commitment": row.commitment.hex(),
            "record": json.loads(row.canonical) if row.canonical else None,
        }
        for row in connection.execute(query.order_by(order).limit(asked.limit))
    ]


def _of_kinds(asked: Listing, terms: list[ColumnElement[bool]], order: Any) -> Select[Any]:
    """Ids of the page: the rare kinds each by their index, the ordinary ones, of which there are many, from where the page begins."""
    rare = sorted(set(asked.kinds) - set(ORDINARY_EVENTS))
    parts = [select(EVENT.c.id).where(EVENT.c.kind == kind, RARE_EVENTS, *terms) for kind in rare]
    if ordinary := sorted(set(asked.kinds) & set(ORDINARY_EVENTS)):
        parts.append(select(EVENT.c.id).where(EVENT.c.kind.in_(ordinary), *terms))
    united = union_all(*(select(part.order_by(order).limit(asked.limit).subquery()) for part in parts)).subquery()
    return select(united.c.id).order_by(united.c.id.desc() if asked.newest else united.c.id).limit(asked.limit)


def _identity(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise OperationRefused(f"'{text}' is no id") from None


async def _check(services: Services, _: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """One page: how many are sound or erased, and which are broken."""
    asked = parsed(Checking, params)
    after = _identity(asked.after) if asked.after else None
    found = await services.reader.read(lambda connection: list(event.check(connection, after, CHECK_PAGE)))
    return {
        "sound": sum(item.state == "sound" for item in found),
        "erased": sum(item.state == "erased" for item in found),
        "broken": [{"event": item.id.hex, "kind": item.kind} for item in found if item.state == "broken"],
        "next": found[-1].id.hex if len(found) == CHECK_PAGE else None,
    }


OPERATIONS = (
    Operation("audit.list", Role.AUDIT, _list),
    Operation("audit.check", Role.AUDIT, _check, needs_reason=False),
)
