"""One event: what was done to what, with what result, from where, by whom, when and why (BIO2 8.15), in RFC 8785 canonical form.

What stays for ever is a salted commitment, HMAC-SHA256 under a 32-octet salt: without salt and record it tells nothing.
"""

import hashlib
import hmac
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from relay.audit.canonical import canonical_json
from relay.audit.kinds import KINDS
from relay.model.ids import new_id
from relay.store.hot import Hot
from relay.store.tables import Event, EventRecord

SALT_SIZE = 32
ERASED_AT_ONCE = 500
EVENT = Event.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
_INSERT_EVENT = Hot(insert(EVENT))
_INSERT_RECORD = Hot(insert(RECORD))


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is not written yet."""

    id: uuid.UUID
    kind: str
    commitment: bytes
    canonical: bytes
    salt: bytes
    message_id: uuid.UUID | None


def make_event(
    kind: str,
    *,
    object_: str,
    result: str,
    origin: str,
    actor: str,
    time_us: int,
    reason: str,
    message_id: uuid.UUID | None = None,
    details: dict[str, Any] | None = None,
) -> NewEvent:
    """`kind` is one of KINDS, `object_` what it was done to, `origin` where the order came from (an address, `control socket`, `process`),
    `actor` who or what did it. `details` are plain JSON values; integers beyond 2^53 are given as text (RFC 8785 §3.2.2.3)."""
    if kind not in KINDS:
        raise ValueError(f"no such kind of event: {kind}")
    identity = new_id()
    form = canonical_json(
        {
            "id": str(identity),
            "kind": kind,
            "object": object_,
            "result": result,
            "origin": origin,
            "actor": actor,
            "time_us": str(time_us),
            "reason": reason,
            "details": details or {},
        }
    )
    salt = os.urandom(SALT_SIZE)
    return NewEvent(identity, kind, commit(form, salt), form, salt, message_id)


def commit(canonical: bytes, salt: bytes) -> bytes:
    """The commitment to a canonical form."""
    return hmac.new(salt, canonical, hashlib.sha256).digest()


def write(connection: Connection, events: Iterable[NewEvent]) -> None:
    """Adds events, inside the transaction of what they tell of."""
    new = list(events)
    if new:
        _INSERT_EVENT.run(connection, [{"id": e.id, "kind": e.kind, "commitment": e.commitment} for e in new])
        _INSERT_RECORD.run(
            connection, [{"event_id": e.id, "message_id": e.message_id, "canonical": e.canonical, "salt": e.salt} for e in new]
        )


def erase(connection: Connection, events: Iterable[uuid.UUID]) -> int:
    """The one way to erase what events committed to (retention, law): the commitments stay, and still verify as a log. On
    PostgreSQL it is for the owner of the tables: the relay's role may not."""
    wanted = list(events)
    return sum(
        connection.execute(
            update(RECORD).where(RECORD.c.event_id.in_(wanted[start : start + ERASED_AT_ONCE])).values(canonical=b"", salt=b"")
        ).rowcount
        for start in range(0, len(wanted), ERASED_AT_ONCE)
    )


@dataclass(frozen=True, slots=True)
class CheckedEvent:
    """`state` is `sound`, `erased`, or `broken`: the record is not what was committed to, or is gone."""

    id: uuid.UUID
    kind: str
    state: str


def check(connection: Connection, after: uuid.UUID | None, limit: int) -> Iterator[CheckedEvent]:
    """Recomputes the commitments of a page of events, in the order of their ids."""
    query = select(EVENT.c.id, EVENT.c.kind, EVENT.c.commitment, RECORD.c.canonical, RECORD.c.salt).join(
        RECORD, RECORD.c.event_id == EVENT.c.id, isouter=True
    )
    if after is not None:
        query = query.where(EVENT.c.id > after)
    for identity, kind, commitment, canonical, salt in connection.execute(query.order_by(EVENT.c.id).limit(limit)):
        yield CheckedEvent(identity, kind, _state(identity, kind, commitment, canonical, salt))


def _state(identity: uuid.UUID, kind: str, commitment: object, canonical: object, salt: object) -> str:
    """SQLite lets a forger store a value of any type, and a row that is gone is None. A record names its event: a copy of one is none."""
    if not isinstance(commitment, bytes) or not isinstance(canonical, bytes) or not isinstance(salt, bytes):
        return "broken"
    if canonical == salt == b"":
        return "erased"
    if not hmac.compare_digest(commit(canonical, salt), commitment):
        return "broken"
    record = json.loads(canonical)  # what was committed to is what `make_event` wrote
    return "sound" if (record["id"], record["kind"]) == (str(identity), kind) else "broken"
