"""What a store of years needs: indexes that give the first page of every list, a running count for each state, marks against erasure.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

from relay.model.address import key_domain

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What every delivery writes; the other kinds are few, and are what people look for.
_ORDINARY = "kind NOT IN ('accepted', 'outcome')"


def upgrade() -> None:
    connection = op.get_bind()
    op.create_table(
        "kept",
        sa.Column("message_id", sa.Uuid, primary_key=True),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("kept_us", sa.BigInteger, nullable=False),
    )
    for table, column in (("message", "sender"), ("delivery", "recipient")):
        op.add_column(table, sa.Column(f"{column}_domain", sa.String, nullable=False, server_default=""))
        _fill(connection, table, column)
    for name, table, columns in (
        ("ix_message_sender", "message", ["sender", "id"]),
        ("ix_message_header_message_id", "message", ["header_message_id", "id"]),
        ("ix_delivery_recipient", "delivery", ["recipient", "message_id"]),
    ):
        op.drop_index(name, table)
        op.create_index(name, table, columns)
    op.create_index("ix_message_sender_domain", "message", ["sender_domain", "id"])
    op.create_index("ix_message_client", "message", ["client", "id"])
    op.create_index("ix_message_commitment", "message", ["commitment"])
    bodies = sa.text("spool_object IS NOT NULL")
    op.create_index("ix_message_body", "message", ["id"], postgresql_where=bodies, sqlite_where=bodies)
    op.create_index("ix_delivery_recipient_domain", "delivery", ["recipient_domain", "message_id"])
    doubtful = sa.text("possible_duplicates > 0")
    op.create_index("ix_delivery_duplicates", "delivery", ["possible_duplicates"], postgresql_where=doubtful, sqlite_where=doubtful)
    rare = sa.text(_ORDINARY)
    op.create_index("ix_event_kind", "event", ["kind", "id"], postgresql_where=rare, sqlite_where=rare)
    op.create_index("ix_request_state", "request", ["state", "id"])
    # The balance counted all that waits as one; now each state has a count of its own.
    op.execute("DELETE FROM tally WHERE name = 'waiting'")
    op.execute(
        "INSERT INTO tally (name, shard, count) SELECT state, 'upgrade', count(*) FROM delivery "
        "WHERE state NOT IN ('delivered', 'bounced', 'deleted') GROUP BY state"
    )


def _fill(connection: sa.Connection, table: str, column: str) -> None:
    """The domains of the rows that are there already."""
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.create_function("sluis_key_domain", 1, key_domain, deterministic=True)
        domain = f"sluis_key_domain({column})"
    else:
        domain = f"coalesce(substring({column} from '@([^@]*)$'), '')"
    op.execute(f"UPDATE {table} SET {column}_domain = {domain} WHERE {column} <> ''")  # noqa: S608 - our names
