"""What inspectors look at, and what one is."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from relay.model.errors import SluisError
from relay.model.finding import Finding


class Sign(StrEnum):
    """What some formats have anywhere in them, and most files nowhere (signs.py)."""

    TAR = "tar"
    SEVEN_ZIP = "sevenzip"
    RAR = "rar"
    ARMOUR = "armour"
    PEM = "pem"
    ZIP_END = "zipend"


@dataclass(frozen=True, slots=True)
class Item:
    """Decoded bytes with where they were found. `path` such as `1.2` or `1.2/inner.zip`; `true_type` is what the bytes are; what is not
    among `signs` need not be looked for.
    """

    path: str
    name: str
    declared: str
    inline: bool
    data: bytes
    true_type: str = ""
    digest: bytes = b""
    signs: frozenset[str] = frozenset(Sign)

    @property
    def sha256(self) -> bytes:
        """Of the data; `digest` holds it where it was computed already."""
        return self.digest or hashlib.sha256(self.data).digest()


class Unavailable(SluisError):
    """An inspector can't answer now: down, slow, garbled. An unknown that may pass."""


class Inspector(Protocol):
    """Looks at one item. `name` is what policy calls it."""

    name: str

    def begin(self) -> None:
        """A new message: what was counted for the last one is over."""
        ...

    def version(self) -> str:
        """Engine and data, as recorded with each message. Raises Unavailable."""
        ...

    def inspect(self, item: Item) -> Iterable[Finding]:
        """What was found; nothing means clean. Raises Unavailable."""
        ...
