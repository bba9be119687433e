"""Message and event ids: UUIDv7 (RFC 9562 §5.7), so that they sort by time and partition by range."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A new time-ordered id."""
    return uuid7()


def id_time_us(value: uuid.UUID) -> int:
    """The time in an id, in microseconds since 1970 UTC (RFC 9562 §5.7: 48 bits of milliseconds)."""
    return (value.int >> 80) * 1000
