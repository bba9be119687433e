"""Alembic's entry: the connection comes from `relay.store.schema`, in whose transaction everything runs."""

from alembic import context
from sqlmodel import SQLModel

from relay.store import tables

assert tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transaction_per_migration=False,
    render_as_batch=False,  # a batch migration copies a table and would leave its triggers behind
)
with context.begin_transaction():
    context.run_migrations()
