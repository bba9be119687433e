"""The queue: list, show, retry, hold, unhold, delete."""

import uuid
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, update

from relay.control.actor import Actor, Role
from relay.control.change import change_many
from relay.control.evidence import refuse_evidence, refuse_kept
from relay.control.operation import Operation, Services
from relay.control.page import work_list
from relay.control.params import Bulk, Listing, parsed
from relay.model.delivery import QUEUED, State
from relay.model.errors import OperationRefused
from relay.phases.held import BY_STAFF
from relay.store import states
from relay.store.tables import Queue

QUEUE = Queue.__table__  # type: ignore[attr-defined]
LISTED = (State.READY, State.UNDECIDED, State.HELD, State.UNDELIVERABLE)


async def _list(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    listing = parsed(Listing, params)
    wanted = tuple(State(text) for text in listing.states if text in LISTED) or LISTED
    answer = await work_list(services, actor, "queue", listing, wanted)
    keys = [(row["id"], row["ordinal"]) for row in answer["rows"]]
    due = await services.reader.read(partial(_due, wanted={identity for identity, _ in keys}))
    for row in answer["rows"]:
        row["queue"] = due.get((row["id"], row["ordinal"]))
    return answer


def _due(connection: Connection, wanted: set[str]) -> dict[tuple[str, int], dict[str, Any]]:
    rows = connection.execute(select(QUEUE).where(QUEUE.c.message_id.in_([uuid.UUID(identity) for identity in wanted])))
    return {
        (row.message_id.hex, row.ordinal): {
            "route": row.route,
            "next_us": row.next_us,
            "expires_us": row.expires_us,
            "owner": row.owner,
            "attempts": row.attempts,
            "final_dot": row.marked_fence is not None,
        }
        for row in rows
    }


async def _retry(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    def change(connection: Connection, row: Any) -> dict[str, Any]:
        now_us = services.clock.now_us()
        refuse_evidence(row)
        if State(row.state) is State.UNDELIVERABLE:
            states.move(connection, row.message_id, row.ordinal, State.UNDECIDED, now_us, _again(services, now_us, row.attempts))
            return {"to_state": State.UNDECIDED.value, "next_us": str(now_us)}
        _refuse_if_leaving(connection, row, now_us)
        connection.execute(update(QUEUE).where(_row(row)).values(next_us=now_us))
        return {"next_us": str(now_us)}

    return await change_many(services, actor, parsed(Bulk, params), (*sorted(QUEUED), State.UNDELIVERABLE), "queue-retry", change)


async def _hold(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    def change(connection: Connection, row: Any) -> dict[str, Any]:
        now_us = services.clock.now_us()
        _refuse_if_leaving(connection, row, now_us)
        states.move(connection, row.message_id, row.ordinal, State.HELD, now_us, disposition=BY_STAFF, because="held by staff")
        return {"to_state": State.HELD.value}

    return await change_many(services, actor, parsed(Bulk, params), tuple(sorted(QUEUED)), "queue-hold", change)


async def _unhold(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    def change(connection: Connection, row: Any) -> dict[str, Any]:
        """It is decided again: what policy holds is held again."""
        now_us = services.clock.now_us()
        states.move(connection, row.message_id, row.ordinal, State.UNDECIDED, now_us, _again(services, now_us, row.attempts))
        return {"to_state": State.UNDECIDED.value}

    return await change_many(services, actor, parsed(Bulk, params), (State.HELD,), "queue-unhold", change)


async def _delete(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    def change(connection: Connection, row: Any) -> dict[str, Any]:
        now_us = services.clock.now_us()
        refuse_kept(connection, row)
        _refuse_if_leaving(connection, row, now_us)
        states.move(connection, row.message_id, row.ordinal, State.DELETED, now_us)
        return {"to_state": State.DELETED.value}

    return await change_many(services, actor, parsed(Bulk, params), LISTED, "queue-delete", change)


def _row(row: Any) -> Any:
    return (QUEUE.c.message_id == row.message_id) & (QUEUE.c.ordinal == row.ordinal)


def _refuse_if_leaving(connection: Connection, row: Any, now_us: int) -> None:
    """After the mark the final dot may be on the wire: what comes of it must be recorded first."""
    found = connection.execute(select(QUEUE).where(_row(row)).with_for_update()).first()
    if found is not None and found.marked_fence is not None and (found.lease_until_us or 0) > now_us:
        raise OperationRefused("it is being sent at this moment: try again in a while")


def _again(services: Services, now_us: int, attempts: int) -> states.QueueEntry:
    _, epoch = services.in_force()
    expires_us = now_us + int(services.settings.delivery.expiry * 1e6)
    return states.QueueEntry("", epoch.policy, epoch.phase, now_us, expires_us, attempts)


OPERATIONS = (
    Operation("queue.list", Role.REVIEW, _list, needs_reason=False),
    Operation("queue.retry", Role.REVIEW, _retry),
    Operation("queue.hold", Role.REVIEW, _hold),
    Operation("queue.unhold", Role.REVIEW, _unhold),
    Operation("queue.delete", Role.REVIEW, _delete),
)
