"""What a process gets from the parent that started it, where `processes` are several."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Part:
    """`name` is its name in log and metrics; `sockets` the descriptors of each listener, one for each address; `http` the unix socket on
    which the parent asks for its metrics; `parent` its process id."""

    name: str
    sockets: Mapping[str, Sequence[int]]
    http: str
    parent: int

    @property
    def http_path(self) -> Path:
        return Path(self.http)

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Part":
        """The inverse."""
        return cls(**json.loads(text))
