"""Whole months on PostgreSQL: where all of a partition may go, it is dropped, which costs the same however many rows it has."""

import datetime
from collections import Counter

from sqlalchemy import Connection, TableClause, column, delete, exists, func, or_, select, table, text

from relay.audit.retention import APPROVAL, KEPT, NOTIFICATION, REQUEST, count_erased
from relay.model.delivery import WAITING, State

LOCK_MS = 300
"""How long it waits for the month itself, at which mail does not look."""
MAIL_MS = 50
"""How long it waits for each of the whole tables, and mail behind it: it needs them for a moment, and gives up where others have them."""

_MONTHS = text(
    """SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'message'::regclass AND c.relname ~ '^message_[0-9]{4}_[0-9]{2}$' ORDER BY c.relname"""
)


def due_months(connection: Connection, before_us: int) -> list[str]:
    """`2024_07` and the like: months that ended before then, of which everything may go. Bodies go first."""
    found = []
    for (name,) in connection.execute(_MONTHS):
        month = name.removeprefix("message_")
        year, number = (int(part) for part in month.split("_"))
        if _end_us(year, number) <= before_us and not _stays(connection, month, before_us):
            found.append(month)
    return found


def _end_us(year: int, month: int) -> int:
    """When the month after it begins."""
    following = datetime.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=datetime.UTC)
    return int(following.timestamp() * 1_000_000)


def _message(month: str) -> TableClause:
    return table(f"message_{month}", column("id"), column("spool_object"))


def _delivery(month: str) -> TableClause:
    return table(f"delivery_{month}", column("state"), column("changed_us"))


def _stays(connection: Connection, month: str, before_us: int) -> bool:
    message, delivery = _message(month), _delivery(month)
    waits = or_(delivery.c.state.in_(sorted(WAITING)), delivery.c.changed_us >= before_us)
    stays = or_(
        exists().where(message.c.spool_object.is_not(None)),
        exists().where(waits),
        exists().where(KEPT.c.message_id == message.c.id),
    )
    return bool(connection.execute(select(stays)).scalar())


def drop_month(connection: Connection, month: str, before_us: int) -> Counter[str]:
    """Gives how many messages and recipients went. Events are erased by themselves. Raises OperationalError where mail is in the way."""
    message, delivery = _message(month), _delivery(month)
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_MS}ms'"))
    # Nobody writes to a month so old but `message keep`; from here on that waits, and then finds nothing.
    connection.execute(text(f"LOCK TABLE message_{month}, delivery_{month} IN SHARE ROW EXCLUSIVE MODE"))
    if _stays(connection, month, before_us):
        return Counter()
    numbers = connection.execute(select(delivery.c.state, func.count()).group_by(delivery.c.state)).all()
    messages = connection.execute(select(func.count()).select_from(message)).scalar() or 0
    about = REQUEST.c.message_id.in_(select(message.c.id))
    connection.execute(delete(APPROVAL).where(APPROVAL.c.request_id.in_(select(REQUEST.c.id).where(about))))
    connection.execute(delete(REQUEST).where(about))
    connection.execute(delete(NOTIFICATION).where(NOTIFICATION.c.message_id.in_(select(message.c.id))))
    recipients = count_erased(connection, {State(state): number for state, number in numbers})
    # All else is done before mail has to wait: a DROP by itself takes the whole table first, and then waits for whoever looks at the month.
    months = f"message_{month}, delivery_{month}, message_default, delivery_default"
    connection.execute(text(f"LOCK TABLE {months} IN ACCESS EXCLUSIVE MODE"))
    connection.execute(text(f"SET LOCAL lock_timeout = '{MAIL_MS}ms'"))
    connection.execute(text("LOCK TABLE ONLY message, ONLY delivery IN ACCESS EXCLUSIVE MODE"))  # in the order in which mail takes them
    connection.execute(text(f"DROP TABLE message_{month}"))
    connection.execute(text(f"DROP TABLE delivery_{month}"))
    return Counter(messages=messages, recipients=recipients)
