"""The one place where a delivery changes its state, with its queue row and the running counts of the balance (promise 14)."""

import os
import socket
import uuid
import zlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from relay.model.delivery import FINISHED, QUEUED, State, may_move
from relay.model.errors import SluisError
from relay.store.tables import Delivery, Queue, Tally

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
QUEUE = Queue.__table__  # type: ignore[attr-defined]
TALLY = Tally.__table__  # type: ignore[attr-defined]

SHARDS = 64
ACCEPTED = "accepted"
WAITING_TALLY = "waiting"


class MoveRefused(SluisError):
    """The delivery is not in a state from which this move goes."""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """What a queued delivery waits for. `route` empty: to be inspected and decided again."""

    route: str
    policy: str
    phase: str
    next_us: int
    expires_us: int
    attempts: int = 0


def tally_name(state: State) -> str:
    """All waiting states count as one: between them nothing enters and nothing leaves custody."""
    return state.value if state in FINISHED else WAITING_TALLY


def _own_shard() -> str:
    """Processes that write side by side count in rows of their own, so that none waits for another's commit, nor both for each other."""
    return str(zlib.crc32(f"{socket.gethostname()}:{os.getpid()}".encode()) % SHARDS)


def count(connection: Connection, name: str, amount: int) -> None:
    """Adds to a running count, in the transaction of what it counts. One shard may go below zero; their sum does not."""
    if amount == 0:
        return
    shard = _own_shard()
    where = (TALLY.c.name == name) & (TALLY.c.shard == shard)
    if connection.execute(update(TALLY).where(where).values(count=TALLY.c.count + amount)).rowcount == 0:
        connection.execute(insert(TALLY).values(name=name, shard=shard, count=amount))


def move(
    connection: Connection,
    message_id: uuid.UUID,
    ordinal: int,
    new: State,
    now_us: int,
    queue: QueueEntry | None = None,
    *,
    concluded: bool = False,
    **values: Any,
) -> State:
    """Moves one delivery to `new` and gives its old state; `values` are more columns of the delivery. A queued state needs `queue`, unless
    its row is there already and stays as it is. `concluded` says that the outcome of its attempt is known: a mark that is otherwise taken
    away is a possible duplicate. Raises MoveRefused; the caller's transaction is then rolled back."""
    where = (DELIVERY.c.message_id == message_id) & (DELIVERY.c.ordinal == ordinal)
    found = connection.execute(select(DELIVERY.c.state).where(where).with_for_update()).scalar_one_or_none()
    if found is None:
        raise MoveRefused(f"no delivery {message_id.hex}/{ordinal}")
    old = State(found)
    stays_queued = old is new and old in QUEUED
    if not stays_queued and not may_move(old, new):
        raise MoveRefused(f"delivery {message_id.hex}/{ordinal} is {old.value}, and can't become {new.value}")
    if not concluded and (new not in QUEUED or queue is not None) and _is_marked(connection, message_id, ordinal):
        values["possible_duplicates"] = DELIVERY.c.possible_duplicates + 1
    connection.execute(update(DELIVERY).where(where).values(state=new.value, changed_us=now_us, **values))
    _requeue(connection, message_id, ordinal, new, queue)
    if tally_name(old) != tally_name(new):
        count(connection, tally_name(old), -1)
        count(connection, tally_name(new), 1)
    return old


def _is_marked(connection: Connection, message_id: uuid.UUID, ordinal: int) -> bool:
    where = (QUEUE.c.message_id == message_id) & (QUEUE.c.ordinal == ordinal)
    return connection.execute(select(QUEUE.c.marked_fence).where(where).with_for_update()).scalar_one_or_none() is not None


def _requeue(connection: Connection, message_id: uuid.UUID, ordinal: int, new: State, queue: QueueEntry | None) -> None:
    where = (QUEUE.c.message_id == message_id) & (QUEUE.c.ordinal == ordinal)
    if new not in QUEUED:
        connection.execute(delete(QUEUE).where(where))
        return
    if queue is None:
        return
    values = {
        "route": queue.route,
        "policy": queue.policy,
        "phase": queue.phase,
        "next_us": queue.next_us,
        "expires_us": queue.expires_us,
        "attempts": queue.attempts,
        "owner": None,
        "lease_until_us": None,
        "marked_fence": None,
    }
    # The fence only rises, so that a claim of before can never write again.
    if connection.execute(update(QUEUE).where(where).values(**values, fence=QUEUE.c.fence + 1)).rowcount == 0:
        connection.execute(insert(QUEUE).values(message_id=message_id, ordinal=ordinal, fence=0, delay_notified=False, **values))


@dataclass(frozen=True, slots=True)
class Balance:
    """Recipients accepted = delivered + bounced + deleted + waiting, counted from the rows and against the running counts."""

    accepted: int
    delivered: int
    bounced: int
    deleted: int
    waiting: int
    counted: dict[str, int]

    @property
    def difference(self) -> int:
        """What the rows lack (above zero) or have too many of."""
        return self.accepted - self.delivered - self.bounced - self.deleted - self.waiting

    @property
    def holds(self) -> bool:
        """Whether all is accounted for."""
        return self.difference == 0 and self.counted == {
            name: getattr(self, name) for name in ("delivered", "bounced", "deleted", "waiting")
        }


def balance(connection: Connection) -> Balance:
    """Counts every delivery; a read that takes its time on a large store."""
    states: dict[str, int] = dict(connection.execute(select(DELIVERY.c.state, func.count()).group_by(DELIVERY.c.state)).all())
    tallies = {
        name: int(number) for name, number in connection.execute(select(TALLY.c.name, func.sum(TALLY.c.count)).group_by(TALLY.c.name))
    }
    waiting = sum(number for state, number in states.items() if State(state) not in FINISHED)
    return Balance(
        accepted=tallies.get(ACCEPTED, 0),
        delivered=states.get(State.DELIVERED.value, 0),
        bounced=states.get(State.BOUNCED.value, 0),
        deleted=states.get(State.DELETED.value, 0),
        waiting=waiting,
        counted={name: tallies.get(name, 0) for name in ("delivered", "bounced", "deleted", WAITING_TALLY)},
    )
