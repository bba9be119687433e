"""Whom rules tell of a message: what is due, and what was done. The rows come with the commit that decides (relay/record/accepting.py)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select, update

from relay.store.tables import Delivery, Message, Notification

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
NOTIFICATION = Notification.__table__  # type: ignore[attr-defined]
HELD = "held back"


@dataclass(frozen=True, slots=True)
class Due:
    """One notice that is not written yet. `recipients` are (address, state) of those for whom the rule matched; `written` says that its
    message is in the record: whoever wrote it did not come to say so; `held` that it was held back in an hour that had enough of them."""

    message_id: uuid.UUID
    rule: str
    address: str
    notice_id: uuid.UUID
    sender: str
    because: str
    recipients: Sequence[tuple[str, str]]
    written: bool
    held: bool


def due(connection: Connection, now_us: int, limit: int) -> list[Due]:
    """The oldest first."""
    query = select(NOTIFICATION).where(NOTIFICATION.c.due_us.is_not(None), NOTIFICATION.c.due_us <= now_us)
    return [_due(connection, row) for row in connection.execute(query.order_by(NOTIFICATION.c.due_us).limit(limit)).all()]


def _due(connection: Connection, row: Any) -> Due:
    sender = connection.execute(select(MESSAGE.c.sender).where(MESSAGE.c.id == row.message_id)).scalar() or ""
    wanted = select(DELIVERY.c.recipient, DELIVERY.c.state, DELIVERY.c.rules).where(DELIVERY.c.message_id == row.message_id)
    deliveries = connection.execute(wanted.order_by(DELIVERY.c.ordinal)).all()
    matched = [(delivery, match) for delivery in deliveries for match in delivery.rules if match["rule"] == row.rule]
    return Due(
        message_id=row.message_id,
        rule=row.rule,
        address=row.address,
        notice_id=row.notice_id,
        sender=sender,
        because=matched[0][1]["because"] if matched else "",
        recipients=[(delivery.recipient, delivery.state) for delivery, _ in matched],
        written=(connection.execute(select(MESSAGE.c.reply).where(MESSAGE.c.id == row.notice_id)).scalar() or "").startswith("250"),
        held=row.result == HELD,
    )


def done(connection: Connection, told: Due, result: str) -> None:
    """It was written, or never will be."""
    connection.execute(update(NOTIFICATION).where(_row(told)).values(due_us=None, result=result))


def again(connection: Connection, told: Due, notice_id: uuid.UUID, due_us: int, result: str) -> None:
    """Our own road did not take it now; the next try is another message."""
    connection.execute(update(NOTIFICATION).where(_row(told)).values(due_us=due_us, notice_id=notice_id, result=result))


def hold_back(connection: Connection, told: Due, due_us: int) -> None:
    """Until then: the hour has had enough of them."""
    connection.execute(update(NOTIFICATION).where(_row(told)).values(due_us=due_us, result=HELD))


def held_beside(connection: Connection, told: Due) -> int:
    """How many more of the same rule to the same address were held back."""
    return connection.execute(select(func.count()).select_from(NOTIFICATION).where(_beside(told))).scalar_one()


def told_with(connection: Connection, told: Due) -> None:
    """Those were told of in this one."""
    connection.execute(update(NOTIFICATION).where(_beside(told)).values(due_us=None, result=f"with {told.notice_id.hex}"))


def _beside(told: Due) -> Any:
    same = and_(NOTIFICATION.c.rule == told.rule, NOTIFICATION.c.address == told.address, NOTIFICATION.c.message_id != told.message_id)
    return and_(NOTIFICATION.c.due_us.is_not(None), NOTIFICATION.c.result == HELD, same)


def _row(told: Due) -> Any:
    return and_(NOTIFICATION.c.message_id == told.message_id, NOTIFICATION.c.rule == told.rule, NOTIFICATION.c.address == told.address)
