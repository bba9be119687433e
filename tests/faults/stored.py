"""The store as the checker reads it: every delivery, every event, the queue and the balance of one moment."""

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from relay.audit import event
from relay.model.delivery import State
from relay.store.search import Key, Search, find
from relay.store.states import Balance, balance
from relay.store.tables import EventRecord, Queue

QUEUE = Queue.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
PAGE = 1000


@dataclass(frozen=True)
class Stored:
    """The store at one moment. `events` are the records, oldest first, `unsound` what the audit's own check calls broken."""

    deliveries: dict[uuid.UUID, list[Any]]
    queued: set[Key]
    events: dict[uuid.UUID | None, list[dict[str, Any]]]
    unsound: list[str]
    balance: Balance


def read_stored(connection: Connection) -> Stored:
    """All of it; `connection` must keep to one moment (relay.store.reader does)."""
    deliveries: dict[uuid.UUID, list[Any]] = defaultdict(list)
    after: Key | None = None
    while rows := find(connection, Search(), after, PAGE):
        for row in rows:
            deliveries[row.message_id].append(row)
        after = (rows[-1].message_id, rows[-1].ordinal)
    events: dict[uuid.UUID | None, list[dict[str, Any]]] = defaultdict(list)
    for row in connection.execute(select(RECORD).order_by(RECORD.c.event_id)):
        commitment = event.commit(row.canonical, row.salt).hex()
        events[row.message_id].append(json.loads(row.canonical) | {"commitment": commitment})
    return Stored(
        deliveries=deliveries,
        queued={(row.message_id, row.ordinal) for row in connection.execute(select(QUEUE.c.message_id, QUEUE.c.ordinal))},
        events=events,
        unsound=[f"{found.id} ({found.kind}) is {found.state}" for found in _all_events(connection) if found.state != "sound"],
        balance=balance(connection),
    )


def _all_events(connection: Connection) -> Iterator[event.CheckedEvent]:
    after = None
    while page := list(event.check(connection, after, PAGE)):
        yield from page
        after = page[-1].id


def in_custody(rows: Iterable[Any]) -> bool:
    """Whether the relay answers for any recipient of a message."""
    return any(State(row.state) is not State.REFUSED for row in rows)


def _told(events: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What the events of one message say of its recipients, oldest first: recipient, state and details. What a person did stands in an
    event of its own for each recipient; a message that was rebuilt from its body waits for a person."""
    for told in events:
        details = told["details"]
        if told["kind"] in ("accepted", "refused", "decided", "outcome"):
            for entry in details.get("recipients", []):
                yield entry.get("recipient") or "@".join(entry["mailbox"]), entry["state"], entry
        elif told["kind"] == "rebuilt" and "accepted" in details:
            for entry in details["accepted"]["details"]["recipients"]:
                yield "@".join(entry["mailbox"]), State.QUARANTINED.value, entry
        elif "to_state" in details:
            yield details["recipient"], details["to_state"], details


def last_states(events: Iterable[dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """For each recipient what the last event of its message says: state and details."""
    return {recipient: (state, details) for recipient, state, details in _told(events)}


def acceptances(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events that say that a message was accepted, with `commitment`; of a rebuilt one that of its manifest."""
    found = []
    for told in events:
        if told["kind"] == "accepted":
            found.append(told)
        elif told["kind"] == "rebuilt" and "accepted" in told["details"]:
            found.append(told["details"]["accepted"] | {"commitment": told["details"]["commitment"]})
    return found


def counted(events: Iterable[dict[str, Any]]) -> Counter[str]:
    """How many recipients of one message were accepted, delivered, bounced and deleted, as its events tell."""
    events = list(events)
    counts: Counter[str] = Counter()
    for accepted in acceptances(events):
        counts["accepted"] += sum(recipient["state"] != State.REFUSED for recipient in accepted["details"]["recipients"])
    counts.update(state for _, state, _ in _told(events) if state in (State.DELIVERED, State.BOUNCED, State.DELETED))
    return counts
