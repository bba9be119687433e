"""The first tables, their append-only triggers and, on PostgreSQL, partitions by time.

Revision ID: 0001
Revises:
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from relay.store import triggers

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger


def _partitioned(column: str) -> dict[str, Any]:
    return {"postgresql_partition_by": f"RANGE ({column})"}


def upgrade() -> None:
    op.create_table(
        "message",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("received_us", _BIG, nullable=False),
        sa.Column("direction", sa.String, nullable=False),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("peer", sa.JSON, nullable=False),
        sa.Column("sender", sa.String, nullable=False, index=True),
        sa.Column("envelope", sa.JSON, nullable=False),
        sa.Column("header_message_id", sa.String, nullable=False, index=True),
        sa.Column("size", _BIG, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("body_hash", sa.String, nullable=False),
        sa.Column("spool_object", sa.String, nullable=True),
        sa.Column("vouched", sa.Boolean, nullable=False),
        sa.Column("authorised", sa.Boolean, nullable=False),
        sa.Column("inspection", sa.JSON, nullable=False),
        sa.Column("policy", sa.String, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("reply", sa.String, nullable=False),
        sa.Column("commitment", sa.String, nullable=False),
        sa.Column("recipients", sa.Integer, nullable=False),
        **_partitioned("id"),
    )
    op.create_table(
        "delivery",
        sa.Column("message_id", sa.Uuid, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("recipient", sa.String, nullable=False),
        sa.Column("envelope", sa.JSON, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("disposition", sa.String, nullable=False),
        sa.Column("rules", sa.JSON, nullable=False),
        sa.Column("because", sa.String, nullable=False),
        sa.Column("route", sa.String, nullable=True),
        sa.Column("policy", sa.String, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("possible_duplicates", sa.Integer, nullable=False),
        sa.Column("release", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("outcome", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("changed_us", _BIG, nullable=False),
        **_partitioned("message_id"),
    )
    op.create_index("ix_delivery_recipient", "delivery", ["recipient"])
    op.create_index("ix_delivery_state", "delivery", ["state", "message_id"])
    op.create_table(
        "queue",
        sa.Column("message_id", sa.Uuid, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("policy", sa.String, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("next_us", _BIG, nullable=False),
        sa.Column("expires_us", _BIG, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("owner", sa.String, nullable=True),
        sa.Column("lease_until_us", _BIG, nullable=True),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("marked_fence", sa.Integer, nullable=True),
        sa.Column("delay_notified", sa.Boolean, nullable=False),
    )
    op.create_index("ix_queue_next", "queue", ["next_us"])
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("commitment", sa.LargeBinary, nullable=False),
        **_partitioned("id"),
    )
    op.create_table(
        "event_record",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("message_id", sa.Uuid, nullable=True),
        sa.Column("canonical", sa.LargeBinary, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        **_partitioned("event_id"),
    )
    op.create_index("ix_event_record_message", "event_record", ["message_id"])
    op.create_table(
        "request",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("message_id", sa.Uuid, nullable=True, index=True),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("asked_us", _BIG, nullable=False),
        sa.Column("state", sa.String, nullable=False),
    )
    op.create_table(
        "approval",
        sa.Column("request_id", sa.Uuid, primary_key=True),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("approved_us", _BIG, nullable=False),
        sa.Column("approved", sa.Boolean, nullable=False),
    )
    op.create_table(
        "policy_version",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("first_us", _BIG, nullable=False),
    )
    op.create_table(
        "control",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
    )
    op.create_table(
        "counter",
        sa.Column("scope", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("window_us", _BIG, primary_key=True, autoincrement=False),
        sa.Column("count", _BIG, nullable=False),
    )
    op.create_table(
        "tally",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("shard", sa.String, primary_key=True),
        sa.Column("count", _BIG, nullable=False),
    )
    triggers.create(op.get_bind())
