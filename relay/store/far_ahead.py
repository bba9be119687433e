"""What a clock that was wrong left in the queue: next attempts and leases that lie further ahead than any that a right one writes."""

from sqlalchemy import Connection, or_, select, update

from relay.store.tables import Queue

QUEUE = Queue.__table__  # type: ignore[attr-defined]


def found(connection: Connection, limit_us: int) -> bool:
    """Whether any is later than `limit_us`."""
    far = or_(QUEUE.c.next_us > limit_us, QUEUE.c.lease_until_us > limit_us)
    return connection.execute(select(QUEUE.c.ordinal).where(far).limit(1)).first() is not None


def mend(connection: Connection, now_us: int, lease_us: int, limit_us: int) -> int:
    """What would be tried in some months is due now; a lease without an end lasts for one more, so that whoever is at work renews it, and
    what a dead process had is taken over then. Gives how many were mended."""
    due = update(QUEUE).where(QUEUE.c.next_us > limit_us).values(next_us=now_us)
    over = update(QUEUE).where(QUEUE.c.lease_until_us > limit_us).values(lease_until_us=now_us + lease_us)
    return int(connection.execute(due).rowcount) + int(connection.execute(over).rowcount)
