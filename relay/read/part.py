"""What a reader gives: the leaf parts with their decoded bytes, and where every byte of the message belongs."""

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a span of the message is."""

    HEADER = "header"
    BODY = "body"
    PREAMBLE = "preamble"
    DELIMITER = "delimiter"
    EPILOGUE = "epilogue"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, end) of the message and the part that they belong to."""

    start: int
    end: int
    role: Role
    part: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf: `path` such as `1.2`, or `1.preamble`; `media_type` as declared, in lower case; `name` as shown to people; decoded
    `data`.
    """

    path: str
    media_type: str
    name: str
    inline: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class HeaderField:
    """`name` in lower case; `value` unfolded bytes behind the colon; [start, end) with the final CRLF; `folded` is the value as it
    stands, where the strict reader made it.
    """

    name: str
    value: bytes
    start: int
    end: int
    folded: bytes = b""


@dataclass(slots=True)
class Reading:
    """A whole message. `spans` cover it without gap or overlap where the strict reader made them."""

    fields: list[HeaderField]
    leaves: list[Leaf]
    spans: list[Span] = field(default_factory=list)
    ambiguities: list[tuple[str, str]] = field(default_factory=list)
