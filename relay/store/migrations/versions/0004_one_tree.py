"""On SQLite `queue`, `event` and `tally` are one tree each, by their key: short rows that come (and go) with every message.

Revision ID: 0004
Revises: 0003
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from relay.store import triggers

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_RARE = sa.text("kind NOT IN ('accepted', 'outcome')")  # as in 0003


def upgrade() -> None:
    """Each row is copied: a minute for ten million events."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":  # PostgreSQL knows no such tables
        return
    _copy(
        "queue",
        "message_id, ordinal",
        [
            sa.Column("message_id", sa.Uuid, primary_key=True),
            sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("route", sa.String, nullable=False),
            sa.Column("policy", sa.String, nullable=False),
            sa.Column("phase", sa.String, nullable=False),
            sa.Column("next_us", sa.BigInteger, nullable=False),
            sa.Column("expires_us", sa.BigInteger, nullable=False),
            sa.Column("attempts", sa.Integer, nullable=False),
            sa.Column("owner", sa.String, nullable=True),
            sa.Column("lease_until_us", sa.BigInteger, nullable=True),
            sa.Column("fence", sa.Integer, nullable=False),
            sa.Column("marked_fence", sa.Integer, nullable=True),
            sa.Column("delay_notified", sa.Boolean, nullable=False),
        ],
    )
    op.create_index("ix_queue_next", "queue", ["next_us"])
    _copy(
        "event",
        "id",
        [
            sa.Column("id", sa.Uuid, primary_key=True),
            sa.Column("kind", sa.String, nullable=False),
            sa.Column("commitment", sa.LargeBinary, nullable=False),
        ],
    )
    op.create_index("ix_event_kind", "event", ["kind", "id"], sqlite_where=_RARE)
    triggers.create_on(connection, "event")  # they went with the table
    _copy(
        "tally",
        "name, shard",
        [
            sa.Column("name", sa.String, primary_key=True),
            sa.Column("shard", sa.String, primary_key=True),
            sa.Column("count", sa.BigInteger, nullable=False),
        ],
    )


def _copy(table: str, key: str, columns: Sequence[sa.Column[object]]) -> None:
    """A new table of the old name with all that was in it. To drop a table fires no trigger of it (SQLite documentation, DROP TABLE)."""
    op.create_table(f"{table}_new", *columns, sqlite_with_rowid=False)
    names = ", ".join(column.name for column in columns)
    op.execute(f"INSERT INTO {table}_new ({names}) SELECT {names} FROM {table} ORDER BY {key}")  # noqa: S608 - our names
    op.drop_table(table)
    op.rename_table(f"{table}_new", table)
