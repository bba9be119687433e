"""Whether somebody wrote to somebody before is asked in statements that are planned once for a connection (PostgreSQL).

Revision ID: 0009
Revises: 0008
"""

from alembic import op

from relay.store.corresponded import create_function

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_function(op.get_bind())
