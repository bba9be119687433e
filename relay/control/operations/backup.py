"""A backup is a copy of everything that the record says of people: who makes one is named first (promise 8)."""

from typing import Any

from pydantic import Field

from relay.audit.event import write
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.params import Reasoned, Text, parsed
from relay.control.person import person_event


class Backup(Reasoned):
    """Where the copy goes."""

    target: Text = Field(max_length=4000)


async def _backup(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """The event; the caller copies with rights of their own, and it is in the copy."""
    asked = parsed(Backup, params)
    told = person_event(
        services, actor, "backup", object_="store and spool", result="begun", reason=asked.reason, details={"target": asked.target}
    )
    await services.journal.submit(lambda connection: write(connection, [told]))
    return {"event": told.id.hex}


OPERATIONS = (Operation("store.backup", Role.ADMIN, _backup),)
