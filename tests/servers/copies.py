"""A store as it was at a moment, to be put back later: what a restored backup or a standby that lagged looks like."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from relay.store.engine import sqlite_path
from tests.servers.database import Database
from tests.servers.postgres import Cluster


class Copies:
    """Of one database. Nobody may be connected on PostgreSQL: whoever is, is cut off."""

    def __init__(self, database: Database, cluster: Callable[[], Cluster], folder: Path) -> None:
        self._database = database
        self._cluster = cluster
        self._copy = folder / "copy.db"
        self._path = sqlite_path(database.relay)

    def keep(self) -> None:
        """Copies the store as it is now."""
        if self._path is not None:
            with sqlite3.connect(self._path) as source, sqlite3.connect(self._copy) as target:
                source.backup(target)
            source.close()
            target.close()
            return
        self._replace(f"{self._name}_copy", self._name)

    def put_back(self) -> None:
        """The store is as it was then. On SQLite nobody may have it open."""
        if self._path is not None:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            shutil.copy(self._copy, self._path)
            return
        self._replace(self._name, f"{self._name}_copy")

    @property
    def _name(self) -> str:
        return self._database.relay.url.partition("?")[0].rpartition("/")[2]

    def _replace(self, new: str, old: str) -> None:
        self._cluster().execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{old}'",
            f"DROP DATABASE IF EXISTS {new} WITH (FORCE)",
            f"CREATE DATABASE {new} OWNER {self._database.owner.url.partition('//')[2].partition('@')[0]} TEMPLATE {old}",
        )

    def close(self) -> None:
        """Takes the copy away."""
        if self._path is None:
            self._cluster().execute(f"DROP DATABASE IF EXISTS {self._name}_copy WITH (FORCE)")
