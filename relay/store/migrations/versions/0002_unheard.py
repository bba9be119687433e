"""Receipts of which nobody knows yet whether their client heard them.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unheard",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("message_id", sa.Uuid, nullable=False),
        sa.Column("accepted_us", sa.BigInteger, nullable=False),
        sa.Column("commitment", sa.String, nullable=False),
        sa.Column("codes", sa.String, nullable=False),
        sqlite_with_rowid=False,  # one tree instead of two: a row comes and goes with every message
    )
