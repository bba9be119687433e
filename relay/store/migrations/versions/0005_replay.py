"""What replay needs of a decision: when it was made, whether it was put off, what observed rules would have said, and on which inspection.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns without a default: no row is rewritten. What older rows do not tell stays unknown."""
    op.add_column("delivery", sa.Column("decided_us", sa.BigInteger, nullable=True))
    op.add_column("delivery", sa.Column("deferred", sa.Boolean, nullable=True))
    op.add_column("delivery", sa.Column("observed", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("delivery", sa.Column("inspection", sa.JSON(none_as_null=True), nullable=True))
