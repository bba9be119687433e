"""Alembic migrations, run by `sluis store upgrade`; the same steps on SQLite and PostgreSQL."""
