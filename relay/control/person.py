"""What a person did, as an event: named by the kernel, for the reason that they gave."""

import uuid
from typing import Any

from relay.audit.event import NewEvent, make_event
from relay.control.actor import Actor
from relay.control.operation import Services

ORIGIN = "control socket"


def person_event(
    services: Services,
    actor: Actor,
    kind: str,
    *,
    object_: str,
    result: str,
    reason: str,
    message_id: uuid.UUID | None = None,
    details: dict[str, Any] | None = None,
) -> NewEvent:
    """Not yet written. `kind` is one of `relay.audit.kinds`."""
    return make_event(
        kind,
        object_=object_,
        result=result,
        origin=ORIGIN,
        actor=actor.name,
        time_us=services.clock.now_us(),
        reason=reason,
        message_id=message_id,
        details=details,
    )
