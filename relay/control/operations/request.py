"""Requests that wait for a second person: list, approve, refuse."""

from functools import partial
from typing import Any

from sqlalchemy import Connection, select

from relay.control import requests
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.params import Reasoned, Strict, Text, parsed
from relay.control.requests import REQUEST
from relay.model.errors import OperationRefused

LIMIT = 500
ROLES = {"release": Role.REVIEW, "phase": Role.ADMIN, "brake": Role.ADMIN}


class Listing(Strict):
    """With `everything` those that are done or refused, too; the newest LIMIT."""

    everything: bool = False


class Answering(Reasoned):
    """The request that it is about."""

    request: Text


async def _list(services: Services, _: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Listing, params)
    return {"rows": await services.reader.read(partial(_rows, everything=asked.everything))}


def _rows(connection: Connection, everything: bool) -> list[dict[str, Any]]:
    query = select(REQUEST).order_by(REQUEST.c.id.desc()).limit(LIMIT)
    if not everything:
        query = query.where(REQUEST.c.state == requests.OPEN)
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
