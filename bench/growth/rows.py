"""Rows as the relay writes them: taken from a message that it has relayed, then varied. A tuple a row, in the order of the columns."""

import hashlib
import hmac
import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.types import JSON

from relay.model.delivery import State
from relay.store.tables import Delivery, Event, EventRecord, Message, Queue

TABLES: dict[str, Any] = {model.__tablename__: model.__table__ for model in (Message, Delivery, Queue, Event, EventRecord)}  # type: ignore[union-attr]
DAY_US = 86_400 * 1_000_000
SENDERS, RECIPIENTS, DOMAINS = 20_000, 100_000, 500
FREQUENT = ("registry@load.test", "clerk@court.test")
"""A sender and a recipient of one message in twenty."""
RARE_CLIENT, RARE_RULE = "fax-gateway", "odd-archive"
"""Of one message in a million, and of one delivery in a hundred thousand."""
HELD = json.dumps([{"rule": "partners-later", "disposition": "hold", "because": "waits for the phase", "final": False, "waived_by": None}])
ODD = json.dumps([{"rule": RARE_RULE, "disposition": "deliver", "because": "noted", "final": False, "waived_by": None}])


@dataclass(frozen=True)
class Plan:
    """How many deliveries, over how many days until now; of them the newest are held, and the very newest queued."""

    deliveries: int
    held: int
    queued: int
    quarantined: int
    days: int
    now_us: int


class Maker:
    """`sample` holds, by table, rows of one message with two recipients that was delivered. Values are as the driver of the dialect takes
    them; `counts` are the deliveries by state."""

    def __init__(self, engine: Engine, plan: Plan) -> None:
        self._plan = plan
        self._sqlite = engine.dialect.name == "sqlite"
        self._random = random.Random(1)
        self.counts: dict[str, int] = {}
        self.deliveries = 0
        self.messages = 0
        with engine.connect() as connection:
            sample = {name: connection.execute(select(table)).mappings().all() for name, table in TABLES.items()}
        delivered = next(row for row in sample["delivery"] if row["state"] == "delivered")
        message = next(row for row in sample["message"] if row["id"] == delivered["message_id"])
        self._message = self._encoded("message", dict(message))
        self._delivery = self._encoded("delivery", dict(delivered))
        kinds = {row["id"]: row["kind"] for row in sample["event"]}
        self._records = {}
        for row in sample["event_record"]:
            if row["message_id"] == message["id"]:
                canonical = json.loads(row["canonical"])
                parts = bytes(row["canonical"])
                for old, mark in ((canonical["id"], b"@EVENT@"), (message["id"].hex, b"@MESSAGE@"), (canonical["time_us"], b"@TIME@")):
                    parts = parts.replace(old.encode(), mark)
                self._records[kinds[row["event_id"]]] = parts
        self._policy, self._phase = message["policy"], message["phase"]

    def _encoded(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        """JSON as text; what is set for each row anyway stays as it is."""
        columns = TABLES[table].columns
        return {
            name: json.dumps(value) if isinstance(columns[name].type, JSON) and value is not None else value for name, value in row.items()
        }

    def _uuid(self, value: uuid.UUID) -> str:
        return value.hex if self._sqlite else str(value)

    def _id(self, time_us: int) -> uuid.UUID:
        """A UUIDv7 (RFC 9562 §5.7)."""
        bits = self._random.getrandbits(74)
        return uuid.UUID(int=time_us // 1000 << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & (1 << 62) - 1)

    def batches(self, size: int) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
        """Rows by table, of about `size` messages each, oldest first."""
        plan = self._plan
        batch: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
        while self.deliveries < plan.deliveries:
            self._one(batch)
            if self.messages % size == 0:
                yield batch
                batch = {name: [] for name in TABLES}
        yield batch

    def _state(self, number: int) -> State:
        """Of the delivery with this number: what waits came in last."""
        left = self._plan.deliveries - number
        if left <= self._plan.queued:
            return State.READY
        left -= self._plan.queued
        if left <= self._plan.held:
            return State.HELD
        return State.QUARANTINED if left <= self._plan.held + self._plan.quarantined else State.DELIVERED

    def _one(self, batch: dict[str, list[tuple[Any, ...]]]) -> None:
        plan, rng = self._plan, self._random
        self.messages += 1
        time_us = plan.now_us - int(plan.days * DAY_US * (1 - self.deliveries / plan.deliveries)) - DAY_US // 24
        identity = self._id(time_us)
        key = self._uuid(identity)
        often = rng.random() < 0.05
        sender = FREQUENT[0] if often else f"s{rng.randrange(SENDERS)}@load.test"
        recipients = rng.choice((1, 2, 3))
        state = self._state(self.deliveries)
        message = self._message
        message["id"] = key
        message["received_us"] = time_us
        message["client"] = RARE_CLIENT if self.messages % 1_000_000 == 77 else "mailserver"
        message["sender"] = sender
        message["header_message_id"] = f"<{rng.getrandbits(128):032x}@load.test>"
        message["digest"] = f"{rng.getrandbits(256):064x}"
        message["spool_object"] = identity.hex if state is not State.DELIVERED else None
        message["recipients"] = recipients
        for ordinal in range(recipients):
            self._deliver(batch, key, ordinal, state, time_us)
        commitment = self._tell(batch, "accepted", identity, time_us)
        message["commitment"] = commitment.hex()
        batch["message"].append(tuple(message.values()))
        if state is State.DELIVERED:
            self._tell(batch, "outcome", identity, time_us + 500_000)

    def _deliver(self, batch: dict[str, list[tuple[Any, ...]]], key: str, ordinal: int, state: State, time_us: int) -> None:
        rng = self._random
        number = self.deliveries
        self.deliveries += 1
        self.counts[state.value] = self.counts.get(state.value, 0) + 1
        delivery = dict(self._delivery)
        delivery["message_id"] = key
        delivery["ordinal"] = ordinal
        name = rng.randrange(RECIPIENTS)
        delivery["recipient"] = FREQUENT[1] if rng.random() < 0.05 else f"r{name}@d{name % DOMAINS}.test"
        delivery["recipient_domain"] = delivery["recipient"].partition("@")[2]
        delivery["state"] = state.value
        delivery["changed_us"] = time_us + 500_000
        if number % 100_000 == 5:
            delivery["rules"] = ODD
        if state is not State.DELIVERED:
            delivery["outcome"] = None
            delivery["attempts"] = 0
        if state in (State.HELD, State.QUARANTINED):
            delivery["disposition"] = "hold" if state is State.HELD else "quarantine"
            delivery["rules"] = HELD
        batch["delivery"].append(tuple(delivery.values()))
        if state is State.READY:
            due = self._plan.now_us + DAY_US + rng.randrange(DAY_US)
            row = (key, ordinal, "outside", self._policy, self._phase, due, due + 5 * DAY_US, 1, None, None, 1, None, False)
            batch["queue"].append(row)

    def _tell(self, batch: dict[str, list[tuple[Any, ...]]], kind: str, message: uuid.UUID, time_us: int) -> bytes:
        """An event that the audit finds sound."""
        identity = self._id(time_us)
        canonical = self._records[kind].replace(b"@EVENT@", str(identity).encode()).replace(b"@MESSAGE@", message.hex.encode())
        canonical = canonical.replace(b"@TIME@", str(time_us).encode())
        salt = self._random.randbytes(32)
        commitment = hmac.digest(salt, canonical, hashlib.sha256)
        batch["event"].append((self._uuid(identity), kind, commitment))
        batch["event_record"].append((self._uuid(identity), self._uuid(message), canonical, salt))
        return commitment
