"""What a process gets from the parent that started it, where `processes` are several."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROLES_NEED_POSTGRESQL = "separate roles need PostgreSQL: on SQLite one relay owns the store"


@dataclass(frozen=True, slots=True)
class Part:
    """`name` is its name in log and metrics; `sockets` the descriptors of each listener, one for each address; `http` the unix socket on
    which the parent asks for its metrics; `attempts`: whether one that listens makes the first attempt of what it has accepted; `lock` the
    descriptor of the lock over an SQLite file, which the parent holds for all."""

    name: str
    sockets: Mapping[str, Sequence[int]]
    http: str
    attempts: bool = False
    lock: int | None = None

    @property
    def http_path(self) -> Path:
        return Path(self.http)

    @property
    def descriptors(self) -> list[int]:
        """All that it inherits."""
        listening = [descriptor for group in self.sockets.values() for descriptor in group]
        return listening if self.lock is None else [*listening, self.lock]

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Part":
        """The inverse."""
        return cls(**json.loads(text))
