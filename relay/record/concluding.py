"""What became of attempts, of many in one commit. The usual end (delivered, bounced, undeliverable) needs few statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from relay.audit.event import NewEvent, write
from relay.model.delivery import QUEUED, State
from relay.model.message import Claimed, Outcome, Signed, Ticket
from relay.model.text import printable
from relay.store import queue, states
from relay.store.states import Finish, QueueEntry
from relay.store.tables import Delivery

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class End:
    """For one recipient: `entry` where it is due again, `values` for more columns of the delivery. `unknown`: the final dot was sent, and
    no reply came, so that the next attempt may send twice."""

    ordinal: int
    state: State
    entry: QueueEntry | None
    unknown: bool
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The ends of one claim; `event` None where nothing was tried."""

    claimed: Claimed
    ends: Sequence[End]
    event: NewEvent | None
    now_us: int

    @property
    def usual(self) -> bool:
        """Nothing of it is due again or in doubt, and every ticket has its end."""
        over = all(end.state not in QUEUED and not end.unknown for end in self.ends)
        return over and {end.ordinal for end in self.ends} == {ticket.ordinal for ticket in self.claimed.tickets}


def conclude(connection: Connection, items: list[Conclusion]) -> list[None]:
    """Raises LeaseLost and MoveRefused, for one of them or for all: the journal then writes each alone."""
    usual = [item for item in items if item.usual]
    if usual:
        queue.drop(connection, [item.claimed for item in usual])
        states.finish(connection, [_finish(item, end) for item in usual for end in item.ends])
    for item in items:
        if not item.usual:
            _one(connection, item)
    write(connection, [item.event for item in items if item.event is not None])
    return [None] * len(items)


def _finish(item: Conclusion, end: End) -> Finish:
    old = next(ticket.state for ticket in item.claimed.tickets if ticket.ordinal == end.ordinal)
    return Finish(item.claimed.message.id, end.ordinal, old, end.state, item.now_us, end.values["outcome"])


def _one(connection: Connection, item: Conclusion) -> None:
    queue.check_lease(connection, item.claimed)
    for end in item.ends:
        values = dict(end.values)
        if end.unknown:
            values["possible_duplicates"] = DELIVERY.c.possible_duplicates + 1
        states.move(connection, item.claimed.message.id, end.ordinal, end.state, item.now_us, end.entry, concluded=True, **values)


def ends_of(claimed: Claimed, outcomes: Sequence[Outcome], next_us: Mapping[int, int], now_us: int) -> list[End]:
    """One for each outcome; what is not done is due again at `next_us` of its ordinal, or at once."""
    tickets = {ticket.ordinal: ticket for ticket in claimed.tickets}
    return [
        End(
            ordinal=outcome.ordinal,
            state=outcome.state,
            entry=_entry_after(claimed, tickets[outcome.ordinal], outcome, next_us.get(outcome.ordinal, now_us)),
            unknown=outcome.unknown,
            values={"outcome": _answered(outcome)},
        )
        for outcome in outcomes
    ]


def _entry_after(claimed: Claimed, ticket: Ticket, outcome: Outcome, due_us: int) -> QueueEntry | None:
    if outcome.state not in QUEUED:
        return None
    attempts = ticket.attempts + int(outcome.attempted and not outcome.rest)
    route = claimed.route if outcome.state is State.READY else ""
    return QueueEntry(route, claimed.epoch.policy, claimed.epoch.phase, due_us, claimed.expires_us, attempts)


def outcome_details(signed: Signed, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What left and what was answered, for each recipient, as the event commits to it (promise 2)."""
    claimed = signed.claimed
    tickets = {ticket.ordinal: ticket for ticket in claimed.tickets}
    results = []
    for outcome in outcomes:
        ticket = tickets[outcome.ordinal]
        results.append(_answered(outcome) | {"recipient": str(ticket.recipient), "possible_duplicate": ticket.interrupted})
    signatures = signed.prefix.count(b"DKIM-Signature:")
    return {"digest": claimed.message.digest, "signatures": signatures, "epoch": str(claimed.epoch), "recipients": results}


def _answered(outcome: Outcome) -> dict[str, Any]:
    """Of one recipient: prefix digest, next hop, TLS, reply."""
    return {
        "state": outcome.state.value,
        "status": outcome.status,
        "reply": printable(outcome.reply, 500),
        "next_hop": outcome.next_hop,
        "tls": outcome.tls,
        "prefix_sha256": outcome.prefix_sha256,
        "attempted": outcome.attempted,
    }
