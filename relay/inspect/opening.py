"""What opening archives may cost a message, and what opening one of them gave."""

import bisect
import io
from dataclasses import dataclass, field
from typing import Protocol

from relay.inspect.item import Item
from relay.model.finding import Finding, Kind
from relay.model.text import file_name, printable

NAME = "archive"
PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """For one message: members, octets unpacked, nesting; `ratio` unpacked to packed for one member."""

    members: int = 10_000
    octets: int = 512 * 1024 * 1024
    depth: int = 4
    ratio: int = 200


class LimitMet(Exception):
    """`args[0]` is the name of the limit."""


class Readable(Protocol):
    """What gives unpacked octets piece by piece."""

    def read(self, size: int, /) -> bytes:
        """At most `size` octets; none at the end."""
        ...


@dataclass(slots=True)
class Budget:
    """What is left of the limits for one message."""

    limits: ArchiveLimits
    members: int = 0
    octets: int = 0

    def member(self) -> None:
        """Raises LimitMet."""
        self.members += 1
        if self.members > self.limits.members:
            raise LimitMet("archive-members")

    def take(self, octets: int) -> None:
        """Raises LimitMet."""
        self.octets += octets
        if self.octets > self.limits.octets:
            raise LimitMet("archive-size")

    def nested(self, depth: int) -> None:
        """Raises LimitMet."""
        if depth > self.limits.depth:
            raise LimitMet("archive-depth")

    def read(self, stream: Readable, packed: int) -> bytes:
        """All of `stream`. Raises LimitMet, and what the stream raises."""
        pieces: list[bytes] = []
        self.read_into(pieces, stream, packed)
        return joined(pieces)

    def read_into(self, pieces: list[bytes], stream: Readable, packed: int) -> None:
        """Piece by piece: a bomb costs a piece, not its claim. `packed` octets are what it was made from. What was read before an error
        stands in `pieces`.
        """
        size = 0
        while piece := stream.read(PIECE):
            size += len(piece)
            self.take(len(piece))
            if size > PIECE and size > packed * self.limits.ratio:
                raise LimitMet("archive-ratio")
            pieces.append(piece)


@dataclass(slots=True)
class Opened:
    """The names of all members of `item`, the members that were unpacked, and what there is to say. `stored` is where in the item
    members lie as they are, [start, end): what looks like an archive there is one inside this one, and no second reading.
    """

    item: Item
    names: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    stored: list[tuple[int, int]] = field(default_factory=list)

    def name(self, name: str) -> None:
        """A member, or a second name of one."""
        self.names.append(file_name(name))

    def add(self, name: str, data: bytes, declared: str = "") -> None:
        """A member's content."""
        shown = file_name(name.rpartition("/")[2] or name)
        self.items.append(Item(f"{self.item.path}/{printable(name, 100)}", shown, declared, False, data))

    def find(self, kind: Kind, name: str, detail: str = "") -> None:
        """A finding about the item."""
        self.findings.append(Finding(kind, NAME, name, self.item.path, printable(detail)))

    def ambiguous(self, name: str, detail: str = "") -> None:
        """Tools read it in two ways."""
        self.find(Kind.AMBIGUOUS, name, detail)

    def store(self, start: int, end: int) -> None:
        """A member lies there as it is."""
        bisect.insort(self.stored, (start, end))

    def holds(self, start: int, end: int) -> bool:
        """Whether [start, end) lies in one stored member."""
        before = bisect.bisect_right(self.stored, (start, len(self.item.data)))
        return before > 0 and end <= self.stored[before - 1][1]


def joined(pieces: list[bytes]) -> bytes:
    """All of them in one; taken from the list on the way, so that what was unpacked is never there twice."""
    whole = io.BytesIO()  # gives its own bytes at the end, and no copy
    pieces.reverse()
    while pieces:
        whole.write(pieces.pop())
    return whole.getvalue()
