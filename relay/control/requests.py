"""What one person asks and another confirms (promise 9): kept as rows, done by the same code with or without a second person."""

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, insert, select, update

from relay.audit.event import write
from relay.control.actor import Actor
from relay.control.operation import Services
from relay.control.person import person_event
from relay.model.errors import OperationRefused
from relay.model.ids import new_id
from relay.store.tables import Approval
from relay.store.tables import Request as RequestTable

REQUEST = RequestTable.__table__  # type: ignore[attr-defined]
APPROVAL = Approval.__table__  # type: ignore[attr-defined]
OPEN, DONE, REFUSED = "open", "done", "refused"
AGAIN = "refuse this request, look again, and ask again"

Carry = Callable[[Connection, Services, Any], dict[str, Any]]
"""Carries a request row out, in the transaction that closes it. Raises OperationRefused."""

CARRIERS: dict[str, Carry] = {}
"""By kind; filled by those who make requests."""


def ask(
    connection: Connection,
    services: Services,
    actor: Actor,
    kind: str,
    details: dict[str, Any],
    reason: str,
    *,
    second: bool,
    message_id: uuid.UUID | None = None,
    identity: uuid.UUID | None = None,
) -> dict[str, Any]:
    """Writes the request; without the need of a second person it is carried out in the same transaction. Gives its id and state.
    `identity` is that of a row which belongs to it."""
    identity = identity or new_id()
    second = second and services.settings.control.two_people
    connection.execute(
        insert(REQUEST).values(
            id=identity,
            kind=kind,
            message_id=message_id,
            details=details,
            actor=actor.name,
            reason=reason,
            asked_us=services.clock.now_us(),
            state=OPEN,
        )
    )
    told = {"request": identity.hex, "two_people": services.settings.control.two_people, **details}
    what, state = f"request {identity.hex}", OPEN if second else DONE
    event = person_event(services, actor, f"{kind}-asked", object_=what, result=state, reason=reason, message_id=message_id, details=told)
    write(connection, [event])
    result = {} if second else _carry(connection, services, identity)
    return {"request": identity.hex, "request_state": state, **result}


def answer(connection: Connection, services: Services, actor: Actor, text: str, reason: str, *, approved: bool) -> dict[str, Any]:
    """The second person's word. Raises OperationRefused: not open, or by the one who asked."""
    row = request_row(connection, text)
    if row.state != OPEN:
        raise OperationRefused(f"the request is {row.state} already")
    if approved and row.actor == actor.name:
        raise OperationRefused("a second person must approve: you asked for it yourself")
    connection.execute(
        insert(APPROVAL).values(request_id=row.id, actor=actor.name, reason=reason, approved_us=services.clock.now_us(), approved=approved)
    )
    state = DONE if approved else REFUSED
    kind, what = f"{row.kind}-{'approved' if approved else 'refused'}", f"request {row.id.hex}"
    told = {"asked_by": row.actor}
    event = person_event(services, actor, kind, object_=what, result=state, reason=reason, message_id=row.message_id, details=told)
    write(connection, [event])
    if approved:
        return {"request": row.id.hex, "request_state": state, **_carry(connection, services, row.id)}
    connection.execute(update(REQUEST).where(REQUEST.c.id == row.id).values(state=REFUSED))
    return {"request": row.id.hex, "request_state": state}


def refuse_second(connection: Connection, kind: str, message_id: uuid.UUID, ordinal: int) -> None:
    """Raises OperationRefused where the same was asked for this delivery and waits."""
    open_ones = select(REQUEST).where(REQUEST.c.message_id == message_id, REQUEST.c.kind == kind, REQUEST.c.state == OPEN)
    for row in connection.execute(open_ones):
        if row.details["ordinal"] == ordinal:
            raise OperationRefused(f"{row.actor} has asked for it already, approve or refuse that: request {row.id.hex}")


def identity_of(text: str) -> uuid.UUID:
    """The id of a request as people have it. Raises OperationRefused."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise OperationRefused(f"'{text}' is no request") from None


def request_row(connection: Connection, text: str) -> Any:
    """Raises OperationRefused."""
    identity = identity_of(text)
    row = connection.execute(select(REQUEST).where(REQUEST.c.id == identity).with_for_update()).first()
    if row is None:
        raise OperationRefused(f"no request {identity.hex}")
    return row


def _carry(connection: Connection, services: Services, identity: uuid.UUID) -> dict[str, Any]:
    row = connection.execute(select(REQUEST).where(REQUEST.c.id == identity)).one()
    result = CARRIERS[row.kind](connection, services, row)
    connection.execute(update(REQUEST).where(REQUEST.c.id == identity).values(state=DONE))
    return result
