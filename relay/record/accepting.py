"""The commit that takes custody: messages, deliveries, queue rows, receipts and events of many messages with one statement a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from relay.audit.event import NewEvent, write
from relay.model.delivery import State
from relay.model.errors import ClientLeft, SluisError
from relay.model.message import Decided
from relay.record.rows import delivery_row, kept_row, notification_rows
from relay.store import states, unheard
from relay.store.hot import Hot
from relay.store.tables import Delivery, Kept, Message, Notification, Queue
from relay.store.unheard import Receipt

KEPT = Kept.__table__  # type: ignore[attr-defined]
NOTIFICATION = Notification.__table__  # type: ignore[attr-defined]
_INSERT_MESSAGE = Hot(insert(Message.__table__))  # type: ignore[attr-defined]
_INSERT_DELIVERY = Hot(insert(Delivery.__table__))  # type: ignore[attr-defined]
_INSERT_QUEUE = Hot(insert(Queue.__table__))  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The rows of one message. `key` is empty where no client waits for a receipt; receipts count that are not older than `since_us`.
    `left` says whether that client is gone. `kept` and `notifications` are rows that few messages have."""

    message: Mapping[str, Any]
    deliveries: Sequence[Mapping[str, Any]]
    queue: Sequence[Mapping[str, Any]]
    states: Sequence[State]
    event: NewEvent
    key: bytes
    receipt: Receipt
    since_us: int
    left: Callable[[], bool] | None = None
    kept: Mapping[str, Any] | None = None
    notifications: Sequence[Mapping[str, Any]] = ()


def acceptance(
    decided: Decided,
    states_: Sequence[State],
    message: Mapping[str, Any],
    queued: Sequence[Mapping[str, Any]],
    event: NewEvent,
    codes: tuple[int, ...],
    since_us: int,
) -> Acceptance:
    """Of a message that was decided: `message` and `queued` are its rows, `codes` those of the replies that its client will hear."""
    received, verdicts = decided.inspected.received, decided.decision.verdicts
    return Acceptance(
        message=message,
        deliveries=[delivery_row(decided, index, state) for index, state in enumerate(states_)],
        queue=queued,
        states=states_,
        event=event,
        key=received.receipt,
        receipt=Receipt(received.id, received.received_us, event.commitment.hex(), codes),
        since_us=since_us,
        left=received.hearing.left if received.hearing is not None else None,
        kept=kept_row(received.id, verdicts, received.received_us),
        notifications=notification_rows(received.id, verdicts, received.received_us),
    )


class _HeardBefore(SluisError):
    """One of several has a receipt already: each is looked at by itself."""


def accept(connection: Connection, items: list[Acceptance]) -> list[Receipt | None]:
    """Writes them, and gives None for each; or, for one whose client has not heard the receipt of the same transaction, that receipt, and
    nothing of it is written (relay/record/adoption.py). Raises ClientLeft where a client is gone, looked at as late as can be: it
    may have taken its message to another process, and been answered there."""
    for item in items:
        if item.left is not None and item.left():
            raise ClientLeft
    if len(items) == 1:
        item = items[0]
        found = unheard.add(connection, item.key, item.receipt, item.since_us) if item.key else None
        if found is not None:
            return [found]
    else:
        receipts = [item for item in items if item.key]
        by_key = {item.key: item.receipt for item in receipts}
        if len(by_key) != len(receipts) or (by_key and not unheard.add_all(connection, by_key)):
            raise _HeardBefore
    _INSERT_MESSAGE.run(connection, [item.message for item in items])
    _INSERT_DELIVERY.run(connection, [row for item in items for row in item.deliveries])
    if queued := [row for item in items for row in item.queue]:
        _INSERT_QUEUE.run(connection, queued)
    _write_beside(connection, items)
    states.count_new(connection, [state for item in items for state in item.states])
    write(connection, [item.event for item in items])
    return [None] * len(items)


def refuse(connection: Connection, items: list[Acceptance]) -> list[Receipt | None]:
    """The same for messages that are refused: rows without body and queue. To refuse what is in custody already would be a lie: the
    receipt of then is given instead."""
    found = [unheard.find(connection, item.key, item.since_us) if item.key else None for item in items]
    new = [item for item, receipt in zip(items, found, strict=True) if receipt is None]
    if new:
        _INSERT_MESSAGE.run(connection, [item.message for item in new])
        _INSERT_DELIVERY.run(connection, [row for item in new for row in item.deliveries])
        _write_beside(connection, new)
        states.count_new(connection, [state for item in new for state in item.states])
        write(connection, [item.event for item in new])
    return found


def _write_beside(connection: Connection, items: Sequence[Acceptance]) -> None:
    """What rules ask for besides: evidence that is kept, people who are told."""
    if kept := [item.kept for item in items if item.kept is not None]:
        connection.execute(insert(KEPT), kept)
    if told := [row for item in items for row in item.notifications]:
        connection.execute(insert(NOTIFICATION), told)


def add_beside(connection: Connection, kept: Mapping[str, Any] | None, notifications: Sequence[Mapping[str, Any]]) -> None:
    """The same for a message that is there already: what is kept is kept once, and nobody is told twice."""
    if kept is not None and connection.execute(select(KEPT).where(KEPT.c.message_id == kept["message_id"])).first() is None:
        connection.execute(insert(KEPT), kept)
    if notifications:
        query = select(NOTIFICATION.c.rule, NOTIFICATION.c.address).where(NOTIFICATION.c.message_id == notifications[0]["message_id"])
        told = {(row.rule, row.address) for row in connection.execute(query)}
        if new := [row for row in notifications if (row["rule"], row["address"]) not in told]:
            connection.execute(insert(NOTIFICATION), new)
