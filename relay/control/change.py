"""A change to many deliveries: chosen by filters, made in pages, each page one durable commit with its events."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection

from relay.audit.event import write
from relay.control import requests
from relay.control.actor import Actor
from relay.control.operation import Services
from relay.control.params import Bulk
from relay.control.person import person_event
from relay.model.delivery import State
from relay.model.errors import OperationRefused
from relay.store.search import Key, Search, page, shown
from relay.store.states import MoveRefused

PAGE = 100
WRITER_SECONDS = 0.02
"""How long the writer may look for more: all mail waits for it."""
WAITS = "waits for a second person"

Change = Callable[[Connection, Any], dict[str, Any] | None]
"""Changes one row of `find` and gives details for its event, or None where nothing was to be done. Raises OperationRefused or
MoveRefused where this one can't be changed; what it wrote until then is undone."""


async def change_many(services: Services, actor: Actor, bulk: Bulk, states: tuple[State, ...], kind: str, change: Change) -> dict[str, Any]:
    """`changed` rows, `refused` rows with their reason, and `missing` ids that named nothing in these states. With `dry_run` nothing is
    written."""
    if bulk.filters.empty and not bulk.everything:
        raise OperationRefused("name messages, give a filter, or say --all")
    search = bulk.filters.search(states)
    changed: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    after: Key | None = None
    while True:
        if bulk.dry_run:
            found = await services.reader.read(partial(page, search=search, after=after, limit=PAGE))
            changed += [shown(row) for row in found.rows]
            after = found.next
        else:
            work = partial(_page, services=services, actor=actor, search=search, after=after, kind=kind, reason=bulk.reason, change=change)
            after, done, not_done = await services.journal.submit(work)
            changed += done
            refused += not_done
        if after is None:
            break
    wanted = " or ".join(state.value for state in states)
    if bulk.filters.ids and not changed and not refused:
        raise OperationRefused(f"none of these is {wanted}{'' if bulk.filters.only_ids else ', and fits the filters'}")
    if changed and not bulk.dry_run:
        await services.changed()
    missing = [{"id": text, "error": f"it is not {wanted}"} for text in bulk.filters.missing(changed + refused)]
    return {"changed": changed, "refused": refused, "missing": missing, "dry_run": bulk.dry_run}


def _page(
    connection: Connection, services: Services, actor: Actor, search: Search, after: Key | None, kind: str, reason: str, change: Change
) -> tuple[Key | None, list[dict[str, Any]], list[dict[str, Any]]]:
    found = page(connection, search, after, PAGE, WRITER_SECONDS)
    done: list[dict[str, Any]] = []
    not_done: list[dict[str, Any]] = []
    events = []
    for row in found.rows:
        try:
            with connection.begin_nested():
                details = change(connection, row)
        except (OperationRefused, MoveRefused) as error:
            not_done.append({**shown(row), "error": str(error)})
            continue
        if details is None:
            continue
        done.append({**shown(row), **details})
        events.append(
            person_event(
                services,
                actor,
                kind,
                object_=f"message {row.message_id.hex}/{row.ordinal}",
                result=WAITS if details.get("request_state") == requests.OPEN else "done",
                reason=reason,
                message_id=row.message_id,
                details={"recipient": row.recipient, "from_state": row.state, **details},
            )
        )
    write(connection, events)
    return found.next, done, not_done
