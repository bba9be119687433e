"""How much a reader may read before it gives up, and what giving up is called."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Header octets (of each entity), parts and nesting of one message."""

    header_size: int = 256 * 1024
    parts: int = 1000
    depth: int = 20


class LimitReached(Exception):
    """The name of the limit: `header-size`, `parts` or `depth`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
