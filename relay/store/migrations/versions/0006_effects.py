"""What follows from a decision besides its disposition, and whom rules tell of a message.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column that is NULL in every row there is: neither database copies one for it."""
    op.add_column("delivery", sa.Column("effects", sa.JSON, nullable=True))
    op.create_table(
        "notification",
        sa.Column("message_id", sa.Uuid, primary_key=True),
        sa.Column("rule", sa.String, primary_key=True),
        sa.Column("address", sa.String, primary_key=True),
        sa.Column("notice_id", sa.Uuid, nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=True),
        sa.Column("result", sa.String, nullable=False),
    )
    due = sa.text("due_us IS NOT NULL")
    op.create_index("ix_notification_due", "notification", ["due_us"], postgresql_where=due, sqlite_where=due)
