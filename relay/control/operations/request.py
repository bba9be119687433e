"""Requests that wait for a second person: list, approve, refuse."""

import uuid
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, or_, select

from relay.control import requests
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.params import MAX_PAGE, PAGE, Reasoned, Strict, Text, parsed
from relay.control.requests import REQUEST
from relay.model.errors import OperationRefused
from relay.phases import state

ROLES = {"release": Role.REVIEW, "phase": Role.ADMIN, "brake": Role.ADMIN, "policy": Role.ADMIN}


class Listing(Strict):
    """With `everything` those that are done, refused or overtaken, too. Newest first; `after` is what the page before gave as `next`."""

    everything: bool = False
    after: Text | None = Field(default=None, max_length=100)
    limit: int = Field(default=PAGE, ge=1, le=MAX_PAGE)


class Answering(Reasoned):
    """The request that it is about."""

    request: Text


async def _list(services: Services, _: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Listing, params)
    after = requests.identity_of(asked.after) if asked.after else None
    rows = await services.reader.read(partial(_rows, everything=asked.everything, after=after, limit=asked.limit))
    return {"rows": rows, "next": rows[-1]["request"] if len(rows) == asked.limit else None}


def _rows(connection: Connection, everything: bool, after: uuid.UUID | None, limit: int) -> list[dict[str, Any]]:
    query = select(REQUEST).order_by(REQUEST.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(REQUEST.c.id < after)
    if not everything:
        # A policy that was proposed before another came into force can't be carried out any more: nobody is asked about it.
        fence = REQUEST.c.details["fence"].as_integer() == state.read(connection).policy_fence
        query = query.where(REQUEST.c.state == requests.OPEN, or_(REQUEST.c.kind != "policy", fence))
    return [
        {
            "request": row.id.hex,
            "kind": row.kind,
            "message": row.message_id.hex if row.message_id else None,
            "actor": row.actor,
            "reason": row.reason,
            "asked_us": row.asked_us,
            "state": row.state,
            "details": row.details,
        }
        for row in connection.execute(query)
    ]


async def _answer(services: Services, actor: Actor, params: dict[str, Any], *, approved: bool) -> dict[str, Any]:
    asked = parsed(Answering, params)

    def work(connection: Connection) -> dict[str, Any]:
        row = requests.request_row(connection, asked.request)
        if ROLES[row.kind] not in actor.roles:
            raise OperationRefused(f"{actor.name} has not the role {ROLES[row.kind].value}")
        return requests.answer(connection, services, actor, asked.request, asked.reason, approved=approved)

    result = await services.journal.submit(work)
    await services.changed()
    return result


async def _approve(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    return await _answer(services, actor, params, approved=True)


async def _refuse(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    return await _answer(services, actor, params, approved=False)


OPERATIONS = (
    Operation("request.list", None, _list, needs_reason=False),
    Operation("request.approve", None, _approve),
    Operation("request.refuse", None, _refuse),
)
