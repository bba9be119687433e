"""The store: erase what may go, a piece at a time; and what must stay whatever its age."""

import uuid
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, delete, insert, select

from relay.audit import retention
from relay.audit.event import write
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.operations.message import One, identity_of
from relay.control.params import Reasoned, Text, parsed
from relay.control.person import ORIGIN, person_event
from relay.control.retention import STAGES, START, Position, Retention
from relay.model.errors import OperationRefused
from relay.store.tables import Kept, Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
KEPT = Kept.__table__  # type: ignore[attr-defined]
PIECE_SECONDS = 2.0
"""Of one call, so that whoever waits for it sees how far it is."""


class Retaining(Reasoned):
    """A piece of a run, behind `position`: what the piece before gave as `next`."""

    dry_run: bool = False
    position: list[Text | None] | None = Field(default=None, min_length=2, max_length=2)


async def _retain(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """`counts` of this piece, `next`, and whether records are left to the owner of the tables."""
    asked = parsed(Retaining, params)
    settings = services.settings.retention
    if settings.body_days is None and settings.record_days is None:
        raise OperationRefused("the settings keep everything: [retention] has neither body_days nor record_days")
    run = Retention(
        services.journal,
        services.reader,
        services.spool,
        services.clock,
        settings,
        (actor.name, ORIGIN, asked.reason),
        dry_run=asked.dry_run,
    )
    counts, following = await run.some(_position(asked.position), PIECE_SECONDS)
    may_erase = await services.reader.read(retention.may_erase_records)
    return {
        "counts": dict(counts),
        "next": [following[0], following[1].hex if following[1] else None] if following else None,
        "owner_needed": settings.record_days is not None and not may_erase,
    }


def _position(given: Any) -> Position:
    if given is None:
        return START
    try:
        stage, after = given
        if stage not in STAGES:
            raise ValueError
        return stage, None if after is None else uuid.UUID(after)
    except ValueError:
        raise OperationRefused("position: not what the piece before gave") from None


async def _keep(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(One, params)
    identity = await services.reader.read(partial(identity_of, text=asked.id))
    event = person_event(
        services, actor, "message-kept", object_=f"message {identity.hex}", result="kept", reason=asked.reason, message_id=identity
    )

    def work(connection: Connection) -> None:
        # Under this lock it is either kept before it is erased, or it is gone.
        if connection.execute(select(MESSAGE.c.id).where(MESSAGE.c.id == identity).with_for_update()).first() is None:
            raise OperationRefused(f"no message {identity.hex}")
        if connection.execute(select(KEPT.c.message_id).where(KEPT.c.message_id == identity)).first() is not None:
            raise OperationRefused("it is kept already")
        now_us = services.clock.now_us()
        connection.execute(insert(KEPT).values(message_id=identity, actor=actor.name, reason=asked.reason, kept_us=now_us))
        write(connection, [event])

    await services.journal.submit(work)
    return {"id": identity.hex, "kept": True}


async def _unkeep(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(One, params)
    identity = await services.reader.read(partial(identity_of, text=asked.id))
    event = person_event(
        services, actor, "message-unkept", object_=f"message {identity.hex}", result="not kept", reason=asked.reason, message_id=identity
    )

    def work(connection: Connection) -> None:
        if connection.execute(delete(KEPT).where(KEPT.c.message_id == identity)).rowcount == 0:
            raise OperationRefused("it is not kept")
        write(connection, [event])

    await services.journal.submit(work)
    return {"id": identity.hex, "kept": False}


OPERATIONS = (
    Operation("store.retention", Role.ADMIN, _retain),
    Operation("message.keep", Role.ADMIN, _keep),
    Operation("message.unkeep", Role.ADMIN, _unkeep),
)
