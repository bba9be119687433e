"""The one place where a delivery changes its state, with its queue row and the running counts of the balance (promise 14)."""

import functools
import os
import socket
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.model.delivery import QUEUED, WAITING, State, may_move
from relay.model.errors import SluisError
from relay.store.along import along, behind
from relay.store.hot import Hot
from relay.store.tables import Delivery, Queue, Tally

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
QUEUE = Queue.__table__  # type: ignore[attr-defined]
TALLY = Tally.__table__  # type: ignore[attr-defined]

_FINISH = Hot(
    update(DELIVERY)
    .where(
        DELIVERY.c.message_id == bindparam("of_message"),
        DELIVERY.c.ordinal == bindparam("of_ordinal"),
        DELIVERY.c.state == bindparam("of_old"),
    )
    .values(state=bindparam("to_state"), changed_us=bindparam("to_changed"), outcome=bindparam("to_outcome", type_=DELIVERY.c.outcome.type))
)
_COUNT = {
    dialect.__name__.rpartition(".")[2]: Hot(
        (adding := dialect.insert(TALLY)).on_conflict_do_update(
            index_elements=[TALLY.c.name, TALLY.c.shard], set_={"count": TALLY.c.count + adding.excluded.count}
        )
    )
    for dialect in (sqlite, postgresql)
}
SHARDS = 64
ACCEPTED = "accepted"
ERASED = "erased"
"""Recipients whose rows retention has erased."""
COUNT_PAGE = 20_000


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


@functools.cache
def _own_shard() -> str:
    """Processes that write side by side count in rows of their own, so that none waits for another's commit, nor both for each other."""
    return str(zlib.crc32(f"{socket.gethostname()}:{os.getpid()}".encode()) % SHARDS)


def count(connection: Connection, name: str, amount: int) -> None:
    """Adds to a running count, in the transaction of what it counts. One shard may go below zero; their sum does not."""
    count_all(connection, {name: amount})


def count_all(connection: Connection, amounts: Mapping[str, int]) -> None:
    """The same for several."""
    shard = _own_shard()
    if rows := [{"name": name, "shard": shard, "count": amount} for name, amount in amounts.items() if amount]:
        _COUNT[connection.dialect.name].run(connection, rows)


def count_new(connection: Connection, states: Iterable[State]) -> None:
    """Recipients of a message that is written now: those that are not refused come into custody."""
    numbers = Counter(states)
    taken = numbers.total() - numbers[State.REFUSED]
    count_all(connection, {ACCEPTED: taken} | {state.value: number for state, number in numbers.items()})


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
    if old is not new:
        count_all(connection, {old.value: -1, new.value: 1})
    return old


@dataclass(frozen=True, slots=True)
class Finish:
    """One delivery at its end: `old` is the state that its claim found."""

    message_id: uuid.UUID
    ordinal: int
    old: State
    new: State
    now_us: int
    outcome: dict[str, Any]


def finish(connection: Connection, ends: Sequence[Finish]) -> None:
    """Moves many deliveries whose queue rows are gone already, in the same transaction (`relay.store.queue.drop`). Raises MoveRefused."""
    for end in ends:
        if end.new in QUEUED or not may_move(end.old, end.new):
            raise MoveRefused(f"delivery {end.message_id.hex}/{end.ordinal} was {end.old.value}, and can't end as {end.new.value}")
    rows = [
        {
            "of_message": end.message_id,
            "of_ordinal": end.ordinal,
            "of_old": end.old.value,
            "to_state": end.new.value,
            "to_changed": end.now_us,
            "to_outcome": end.outcome,
        }
        for end in ends
    ]
    if _FINISH.run(connection, rows) != len(rows):
        raise MoveRefused(f"delivery {ends[0].message_id.hex}/{ends[0].ordinal} or another is not in the state that its claim found")
    changes = Counter(end.new for end in ends)
    changes.subtract(end.old for end in ends)
    count_all(connection, {state.value: change for state, change in changes.items()})


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
    """Recipients accepted = delivered + bounced + deleted + waiting + erased. `rows` and `counted` are by state: what the deliveries say,
    and what the running counts say."""

    accepted: int
    erased: int
    rows: dict[State, int]
    counted: dict[State, int]

    def __str__(self) -> str:
        found = ", ".join(f"{state.value} {number}" for state, number in self.rows.items() if number)
        counts = ", ".join(f"{state.value} {number}" for state, number in self.counted.items() if number)
        return f"{self.accepted} accepted, {self.erased} erased; found: {found or 'nothing'}; counted: {counts or 'nothing'}"

    @property
    def delivered(self) -> int:
        """As the rows say."""
        return self.rows[State.DELIVERED]

    @property
    def bounced(self) -> int:
        """As the rows say."""
        return self.rows[State.BOUNCED]

    @property
    def deleted(self) -> int:
        """As the rows say."""
        return self.rows[State.DELETED]

    @property
    def waiting(self) -> int:
        """As the rows say."""
        return sum(self.rows[state] for state in WAITING)

    @property
    def difference(self) -> int:
        """What the rows lack (above zero) or have too many of."""
        return self.accepted - self.delivered - self.bounced - self.deleted - self.waiting - self.erased

    @property
    def holds(self) -> bool:
        """Whether all is accounted for."""
        return self.difference == 0 and self.counted == self.rows


def running(connection: Connection) -> Balance:
    """The running counts against each other: a few rows, however large the store is. What became of the rows themselves it does not see."""
    accepted, erased, counted = _tallies(connection)
    return Balance(accepted, erased, counted, counted)


def balance(connection: Connection, rest: Callable[[float], None] | None = None, page: int = COUNT_PAGE) -> Balance:
    """Counts every delivery, in pages of one index, and compares with the running counts of the same moment: `connection` must keep to
    one (relay.store.reader does). `rest` hears after each page how many seconds it took."""
    accepted, erased, counted = _tallies(connection)
    return Balance(accepted, erased, {state: _rows_in(connection, state, rest, page) for state in State}, counted)


def _tallies(connection: Connection) -> tuple[int, int, dict[State, int]]:
    query = select(TALLY.c.name, func.sum(TALLY.c.count)).group_by(TALLY.c.name)
    found = {name: int(number) for name, number in connection.execute(query)}
    return found.get(ACCEPTED, 0), found.get(ERASED, 0), {state: found.get(state.value, 0) for state in State}


def _rows_in(connection: Connection, state: State, rest: Callable[[float], None] | None, size: int) -> int:
    """By the index of states, page by page; a message whose recipients are on both sides of a border is counted on this one."""
    total = 0
    after: uuid.UUID | None = None
    while True:
        begun = time.monotonic()
        page = along(connection, DELIVERY.c.state, state.value, DELIVERY.c.message_id, low=behind(after))
        border = connection.execute(page.limit(1).offset(size)).scalar()
        page = along(connection, DELIVERY.c.state, state.value, DELIVERY.c.message_id, low=behind(after), high=border)
        total += connection.execute(select(func.count()).select_from(page.order_by(None).subquery())).scalar() or 0
        if border is None:
            return total
        after = border
        if rest is not None:
            rest(time.monotonic() - begun)
