"""The ways of policies into force: who proposed them, what their tests said, and since when each was in force.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table more. What was in force before has no row there, and stays readable."""
    op.create_table(
        "policy_rollout",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("before", sa.String, nullable=True),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("asked_us", sa.BigInteger, nullable=False),
        sa.Column("tests", sa.JSON, nullable=False),
        sa.Column("tested", sa.JSON, nullable=False),
        sa.Column("replay", sa.JSON, nullable=True),
        sa.Column("live_us", sa.BigInteger, nullable=True),
    )
    op.create_index("ix_policy_rollout_digest", "policy_rollout", ["digest", "id"])
