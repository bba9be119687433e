"""Whether somebody wrote to somebody before, as a function that a role may ask which reads neither table (PostgreSQL).

Revision ID: 0007
Revises: 0006
"""

from alembic import op

from relay.store.corresponded import create_function

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_function(op.get_bind())
