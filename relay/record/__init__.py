"""Message, decision and audit event in one durable commit. Promise: 250 is said only after that."""

from relay.record.record import Record

__all__ = ["Record"]
