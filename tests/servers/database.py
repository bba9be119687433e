"""Where a store is, as seen by the two roles of a deployment."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from relay.settings.models import Store
from relay.store import schema
from relay.store.engine import open_engine


@dataclass(frozen=True, slots=True)
class Database:
    """`owner` migrates; `relay` is what the relay uses, and owns nothing on PostgreSQL, nor does `listen`, for what only accepts. On SQLite
    all are the same file."""

    dialect: str
    owner: Store
    relay: Store
    listen: Store
    relay_role: str | None = None
    listen_role: str | None = None

    def upgrade(self) -> tuple[str | None, str]:
        """What `sluis store upgrade` does."""
        engine = open_engine(self.owner)
        try:
            return schema.upgrade(engine, self.relay_role, self.listen_role)
        finally:
            engine.dispose()

    def owner_engine(self) -> Engine:
        """The caller disposes of it."""
        return open_engine(self.owner)

    def engine(self) -> Engine:
        """As the relay; the caller disposes of it."""
        return open_engine(self.relay)


def sqlite_database(folder: Path) -> Database:
    """A file that is not there yet."""
    store = Store(url=f"sqlite:///{folder / 'store' / 'sluis.db'}")
    return Database("sqlite", owner=store, relay=store, listen=store)
