"""Policy: why a message of the record was decided as it was, under the policy that decided it."""

import asyncio
import json
import uuid
from functools import lru_cache, partial
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, select

from relay.audit.event import write
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.operations.message import One, identity_of, told_of_reading
from relay.control.params import Reasoned, Text, parsed
from relay.control.person import person_event
from relay.decide import decide
from relay.decide.explain import explain
from relay.judge import day_of
from relay.model.errors import ConfigurationError, OperationRefused
from relay.policy.load import build
from relay.policy.models import Policy
from relay.rehearsal.recorded import case_from, epoch_of, release_of
from relay.rehearsal.told import as_json
from relay.store import policies
from relay.store.tables import Delivery, Event, EventRecord, Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
EVENT = Event.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]


async def _explain(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(One, params)
    identity = await services.reader.read(partial(identity_of, text=asked.id))
    found = await services.reader.read(partial(_of_message, identity=identity))
    await told_of_reading(services, actor, f"message {identity.hex}", "explained", asked.reason, identity)
    return await asyncio.to_thread(_explained, *found)


def _of_message(connection: Connection, identity: uuid.UUID) -> tuple[Any, list[Any], dict[str, dict[str, str]], int]:
    """The message, its deliveries, the files of the policies that decided, and when the last decision was made."""
    message = connection.execute(select(MESSAGE).where(MESSAGE.c.id == identity)).one()
    deliveries = list(connection.execute(select(DELIVERY).where(DELIVERY.c.message_id == identity).order_by(DELIVERY.c.ordinal)))
    if not message.inspection or any(not row.envelope for row in deliveries):
        raise OperationRefused("what was known of this message is erased")
    digests = {row.policy for row in deliveries}
    files = {digest: policies.files_of(connection, digest) for digest in digests}
    missing = [digest for digest, texts in files.items() if texts is None]
    if missing:
        raise OperationRefused(f"the store does not keep policy {missing[0]}")
    return message, deliveries, {digest: texts for digest, texts in files.items() if texts is not None}, _decided_us(connection, message)


def _decided_us(connection: Connection, message: Any) -> int:
    """Decided again, or when it came in: dates in a policy count from then. Rows since 0005 tell it for each recipient."""
    query = (
        select(RECORD.c.canonical)
        .join(EVENT, EVENT.c.id == RECORD.c.event_id)
        .where(RECORD.c.message_id == message.id, EVENT.c.kind == "decided")
        .order_by(RECORD.c.event_id.desc())
    )
    canonical = connection.execute(query.limit(1)).scalar()
    return int(json.loads(canonical)["time_us"]) if canonical else int(message.received_us)


def _explained(message: Any, deliveries: list[Any], files: dict[str, dict[str, str]], decided_us: int) -> dict[str, Any]:
    return {
        "message": message.id.hex,
        "received_us": message.received_us,
        "decided_us": decided_us,
        "recipients": [_one(message, row, files[row.policy], decided_us) for row in deliveries],
    }


def _one(message: Any, row: Any, files: dict[str, str], decided_us: int) -> dict[str, Any]:
    policy = _policy(row.policy, tuple(sorted(files.items())))
    decided_us = row.decided_us or decided_us
    epoch, case, release = epoch_of(row), case_from(message, [row]), release_of(row)
    releases = {0: release} if release else {}
    decision = decide(case, policy, epoch, day_of(decided_us), releases)
    (explained,) = explain(case, policy, epoch, day_of(decided_us), decision)
    verdict = decision.verdicts[0]
    return {
        "policy": row.policy,
        "phase": row.phase,
        "decided_us": decided_us,
        "state": row.state,
        "recorded": row.disposition,
        "as_recorded": str(verdict.disposition) == row.disposition,
        **as_json(explained, policy),
    }


@lru_cache(maxsize=4)
def _policy(digest: str, files: tuple[tuple[str, str], ...]) -> Policy:
    """A version of the past. One that this program can't read any more is said to be so."""
    try:
        policy = build(dict(files))
    except ConfigurationError as error:
        raise OperationRefused(f"this version of Sluis does not understand policy {digest}: {error.problems[0]}") from None
    return policy


class Replaying(Reasoned):
    """Whoever replays sees who wrote to whom, of many messages."""

    policy: Text = Field(max_length=64)


async def _replaying(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """The record is read by the one who asks: all there is to do here is to name them in the audit (promise 8)."""
    asked = parsed(Replaying, params)
    details = {"policy": asked.policy}
    event = person_event(services, actor, "message-search", object_="messages", result="replayed", reason=asked.reason, details=details)
    await services.journal.submit(lambda connection: write(connection, [event]))
    return {}


OPERATIONS = (Operation("policy.explain", Role.REVIEW, _explain), Operation("policy.replaying", Role.REVIEW, _replaying))
"""What may be asked."""
