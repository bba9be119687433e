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


def last_states(events: Iterable[dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """For each recipient what the last event of its message says: state and details."""
    last: dict[str, tuple[str, dict[str, Any]]] = {}
    for told in events:
        for entry in told["details"].get("recipients", []) if told["kind"] in ("accepted", "decided", "outcome") else []:
            last[entry.get("recipient") or "@".join(entry["mailbox"])] = (entry["state"], entry)
    return last


def counted(events: Iterable[dict[str, Any]]) -> Counter[str]:
    """How many recipients of one message were accepted, delivered and bounced, as its events tell."""
    counts: Counter[str] = Counter()
    for entry in events:
        if entry["kind"] not in ("accepted", "decided", "outcome"):
            continue
        for recipient in entry["details"]["recipients"]:
            if entry["kind"] == "accepted" and recipient["state"] != State.REFUSED:
                counts["accepted"] += 1
            if recipient["state"] in (State.DELIVERED, State.BOUNCED):
                counts[recipient["state"]] += 1
    return counts
