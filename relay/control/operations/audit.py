"""The events: list them, and recompute every commitment."""

import json
import time
import uuid
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, select

from relay.audit import event
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.params import MAX_PAGE, PAGE, Microseconds, Reasoned, Strict, Text, parsed
from relay.control.person import person_event
from relay.model.errors import OperationRefused
from relay.store.along import along, behind
from relay.store.tables import ORDINARY_EVENTS, RARE_EVENTS, Event, EventRecord

EVENT = Event.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
CHECK_PAGE = 1000
PAGE_SECONDS = 0.1
WINDOW = 5000
"""Events that one query looks through."""


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
    rows, following = await services.reader.read(partial(_page, asked=asked))
    details = {"kinds": asked.kinds, "message": asked.message or ""}
    told = person_event(services, actor, "audit-read", object_="events", result=f"{len(rows)} events", reason=asked.reason, details=details)
    await services.journal.submit(lambda connection: event.write(connection, [told]))
    return {"rows": rows, "next": following}


def _page(connection: Connection, asked: Listing) -> tuple[list[dict[str, Any]], str | None]:
    """The rows, and where to go on: there may be few of them, or none, and more behind."""
    after = _identity(asked.after) if asked.after is not None else None
    if asked.message is not None:
        terms = [*_bounds(asked, after), RECORD.c.message_id == _identity(asked.message)]
        rows = _read(connection, asked, [*terms, EVENT.c.kind.in_(asked.kinds)] if asked.kinds else terms)
    elif not asked.kinds:
        rows = _read(connection, asked, _bounds(asked, after))
    elif set(asked.kinds) & set(ORDINARY_EVENTS):
        return _looked_through(connection, asked, after)
    else:
        rows = _read(connection, asked, [EVENT.c.id.in_(_rare(connection, asked, after))])
    return rows, rows[-1]["event"] if len(rows) == asked.limit else None


def _looked_through(connection: Connection, asked: Listing, after: uuid.UUID | None) -> tuple[list[dict[str, Any]], str | None]:
    """Kinds that have no index, for most events are of them: a window of events after the other, for a bounded time."""
    deadline = time.monotonic() + PAGE_SECONDS
    rows: list[dict[str, Any]] = []
    while True:
        terms = _bounds(asked, after)
        ids = select(EVENT.c.id).where(*terms).order_by(_order(asked)).limit(1).offset(WINDOW - 1)
        border = connection.execute(ids).scalar()
        if border is not None:
            terms.append(EVENT.c.id >= border if asked.newest else EVENT.c.id <= border)
        rows += _read(connection, asked, [*terms, EVENT.c.kind.in_(asked.kinds)], asked.limit - len(rows))
        if len(rows) == asked.limit:
            return rows, rows[-1]["event"]
        if border is None:
            return rows, None
        after = border
        if time.monotonic() > deadline:
            return rows, border.hex


def _order(asked: Listing) -> Any:
    return EVENT.c.id.desc() if asked.newest else EVENT.c.id


def _bounds(asked: Listing, after: uuid.UUID | None) -> list[ColumnElement[bool]]:
    terms: list[ColumnElement[bool]] = []
    if asked.since_us is not None:
        terms.append(EVENT.c.id >= uuid.UUID(int=max(asked.since_us, 0) // 1000 << 80))
    if after is not None:
        terms.append(EVENT.c.id < after if asked.newest else EVENT.c.id > after)
    return terms


def _rare(connection: Connection, asked: Listing, after: uuid.UUID | None) -> list[uuid.UUID]:
    """Ids of the page, for each kind by the index."""
    low = uuid.UUID(int=max(asked.since_us, 0) // 1000 << 80) if asked.since_us is not None else None
    high = uuid.UUID(int=max(after.int - 1, 0)) if after is not None and asked.newest else None
    if after is not None and not asked.newest:
        low = max(bound for bound in (low, behind(after)) if bound is not None)
    found: list[uuid.UUID] = []
    for kind in sorted(set(asked.kinds)):
        query = along(connection, EVENT.c.kind, kind, EVENT.c.id, newest=asked.newest, low=low, high=high).where(RARE_EVENTS)
        found += connection.execute(query.limit(asked.limit)).scalars()
    return sorted(found, reverse=asked.newest)[: asked.limit]


def _read(connection: Connection, asked: Listing, terms: list[ColumnElement[bool]], limit: int | None = None) -> list[dict[str, Any]]:
    query = select(EVENT.c.id, EVENT.c.kind, EVENT.c.commitment, RECORD.c.canonical).join(
        RECORD, RECORD.c.event_id == EVENT.c.id, isouter=True
    )
    return [
        {
            "event": row.id.hex,
            "kind": row.kind,
            "commitment": row.commitment.hex(),
            "record": json.loads(row.canonical) if row.canonical else None,
        }
        for row in connection.execute(query.where(*terms).order_by(_order(asked)).limit(limit or asked.limit))
    ]


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
