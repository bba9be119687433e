"""What can be asked of the desk: list, show, release, delete."""

from functools import partial
from typing import Any

from sqlalchemy import Connection

from quarantine.release import release
from quarantine.seen import difference, findings_of, needs_second
from relay.control.actor import Actor, Role
from relay.control.change import change_many
from relay.control.evidence import refuse_kept
from relay.control.operation import Operation, Services
from relay.control.operations.message import One, read_journey
from relay.control.page import work_list
from relay.control.params import Bulk, Listing, parsed
from relay.model.delivery import State
from relay.store import states
from relay.store.search import Search, find

WAITING = (State.QUARANTINED,)


async def _list(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    return await work_list(services, actor, "quarantine", parsed(Listing, params), WAITING)


async def _show(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """The journey, and for each quarantined recipient what a release would be bound to."""
    journey, identity = await read_journey(services, actor, parsed(One, params))
    search = Search(ids=((identity, None),), states=WAITING)
    rows = await services.reader.read(partial(find, search=search, after=None, limit=1000))
    two_people = services.settings.control.two_people
    journey["review"] = [
        {
            "ordinal": row.ordinal,
            "recipient": row.recipient,
            "findings": [list(item) for item in findings_of(row)],
            "second_person": two_people and needs_second(row),
            "single_admin": not two_people and needs_second(row),
            "since_release": difference(row),
        }
        for row in rows
    ]
    return journey


async def _delete(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    def change(connection: Connection, row: Any) -> dict[str, Any]:
        refuse_kept(connection, row)
        states.move(connection, row.message_id, row.ordinal, State.DELETED, services.clock.now_us())
        return {"to_state": State.DELETED.value}

    return await change_many(services, actor, parsed(Bulk, params), WAITING, "quarantine-delete", change)


OPERATIONS = (
    Operation("quarantine.list", Role.REVIEW, _list, needs_reason=False),
    Operation("quarantine.show", Role.REVIEW, _show),
    Operation("quarantine.release", Role.REVIEW, release),
    Operation("quarantine.delete", Role.REVIEW, _delete),
)
