"""What was inspected and decided again, in one commit that asks for the lease first: what another process decided since then stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from relay.audit.event import NewEvent, write
from relay.model.decision import Decision, Verdict
from relay.model.delivery import QUEUED, State
from relay.model.features import Inspection
from relay.model.message import Claimed, Ticket
from relay.record.accepting import add_beside
from relay.record.inspected_again import inspected_again
from relay.record.rows import effects_told, kept_row, notification_rows, observed_details, verdict_values
from relay.store import queue, states
from relay.store.states import QueueEntry


@dataclass(frozen=True, slots=True)
class Redecision:
    """Of one claim; `states` has one for each of its tickets. What is undecided still is due again at `next_us`, all else at once."""

    claimed: Claimed
    inspection: Inspection
    decision: Decision
    states: Sequence[State]
    event: NewEvent
    now_us: int
    next_us: int


def redecide(connection: Connection, item: Redecision) -> None:
    """Raises LeaseLost and MoveRefused."""
    claimed, verdicts, identity = item.claimed, item.decision.verdicts, item.claimed.message.id
    queue.check_lease(connection, claimed)
    inspected_again(connection, claimed, item.inspection)
    for index, (ticket, state, verdict) in enumerate(zip(claimed.tickets, item.states, verdicts, strict=True)):
        values = verdict_values(item.decision, index)
        states.move(connection, identity, ticket.ordinal, state, item.now_us, _entry(item, ticket, state, verdict), **values)
    add_beside(connection, kept_row(identity, verdicts, item.now_us), notification_rows(identity, verdicts, item.now_us))
    write(connection, [item.event])


def _entry(item: Redecision, ticket: Ticket, state: State, verdict: Verdict) -> QueueEntry | None:
    if state not in QUEUED:
        return None
    route = (verdict.route or "") if state is State.READY else ""
    due_us = item.next_us if state is State.UNDECIDED else item.now_us
    epoch = item.decision.epoch
    return QueueEntry(route, epoch.policy, epoch.phase, due_us, item.claimed.expires_us, ticket.attempts)


def redecided_details(claimed: Claimed, inspection: Inspection, decision: Decision, states_: Sequence[State]) -> dict[str, Any]:
    """Findings and decision of today, as the event commits to them; the earlier ones stand in the events before it."""
    return {
        "epoch": str(decision.epoch),
        "findings": [list(finding.identity) for finding in inspection.findings],
        "recipients": [
            {
                "recipient": str(ticket.recipient),
                "state": state.value,
                "disposition": str(verdict.disposition),
                "rules": list(verdict.rules),
                **observed_details(verdict),
                **effects_told(verdict),
            }
            for ticket, state, verdict in zip(claimed.tickets, states_, decision.verdicts, strict=True)
        ],
    }
