"""Whether somebody wrote to somebody before, as a function that a role may ask which reads neither table (PostgreSQL).

Revision ID: 0006
Revises: 0005
"""

from alembic import op

from relay.store.corresponded import create_function

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_function(op.get_bind())
