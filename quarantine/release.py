"""Release: for the chosen recipients only, bound to what was seen, carried out by the relay's own road."""

import uuid
from typing import Any

from sqlalchemy import Connection

from quarantine.seen import difference, findings_of, leaves_unsigned, needs_second, standing_rules
from relay.control import requests
from relay.control.actor import Actor
from relay.control.change import change_many
from relay.control.evidence import refuse_evidence
from relay.control.operation import Services
from relay.control.params import Bulk, parsed
from relay.model.delivery import State
from relay.model.errors import OperationRefused
from relay.store import states
from relay.store.search import Search, find

KIND = "release"


class Releasing(Bulk):
    """A release. `again`: what stopped it after the release before has been looked at. `unsigned`: it may leave without a DKIM signature,
    where its header can't be signed."""

    again: bool = False
    unsigned: bool = False


async def release(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """Quarantined deliveries go back to `inspect`, with today's signatures and today's policy. What a final rule stopped waits for a
    second person first; what was stopped again by something that nobody had seen is not released unseen."""
    asked = parsed(Releasing, params)

    def change(connection: Connection, row: Any) -> dict[str, Any]:
        refuse_evidence(row)
        since = difference(row)
        if since and (since["new_findings"] or since["new_rules"]) and not asked.again:
            raise OperationRefused("something new has stopped it since it was released: look at it, then release it --again")
        if leaves_unsigned(row) and not asked.unsigned:
            raise OperationRefused("its header can be read in two ways and can't be DKIM-signed: release it --unsigned, or delete it")
        requests.refuse_second(connection, KIND, row.message_id, row.ordinal)
        details = {
            "ordinal": row.ordinal,
            "recipient": row.recipient,
            "findings": [list(item) for item in findings_of(row)],
            "rules": standing_rules(row),
        }
        return requests.ask(connection, services, actor, KIND, details, asked.reason, second=needs_second(row), message_id=row.message_id)

    return await change_many(services, actor, asked, (State.QUARANTINED,), "release", change)


def carry(connection: Connection, services: Services, request: Any) -> dict[str, Any]:
    """One delivery becomes `undecided`, with the release beside it. Raises OperationRefused where the message is not what was seen."""
    row = _delivery(connection, request.message_id, request.details["ordinal"])
    seen = {tuple(item) for item in request.details["findings"]}
    if State(row.state) is not State.QUARANTINED:
        raise OperationRefused(f"it is {row.state} now")
    refuse_evidence(row)
    if not seen.issuperset(findings_of(row)) or not set(request.details["rules"]).issuperset(standing_rules(row)):
        raise OperationRefused(f"it was stopped by something else since this was asked: {requests.AGAIN}")
    approved = needs_second(row)
    now_us = services.clock.now_us()
    _, epoch = services.in_force()
    entry = states.QueueEntry("", epoch.policy, epoch.phase, now_us, now_us + int(services.settings.delivery.expiry * 1e6), row.attempts)
    given = {"request": request.id.hex, "findings": request.details["findings"], "rules": request.details["rules"], "approved": approved}
    states.move(connection, row.message_id, row.ordinal, State.UNDECIDED, now_us, entry, release=given)
    return {"to_state": State.UNDECIDED.value}


def _delivery(connection: Connection, message_id: uuid.UUID, ordinal: int) -> Any:
    rows = find(connection, Search(ids=((message_id, ordinal),)), None, 1)
    if not rows:
        raise OperationRefused(f"no delivery {message_id.hex}/{ordinal}")
    return rows[0]


requests.CARRIERS[KIND] = carry
