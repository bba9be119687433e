"""The header block of a message in the spool as raw fields: read once, bounded, and only as far as the header goes."""

import re

from relay.model.ports import BodyReader

LIMIT = 1024 * 1024  # four times what inspection lets pass by default (settings: inspection.header_size)
FIELD_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")  # RFC 5322 §3.6.8 ftext, and the blank before the colon of §4.5
CONTINUATION = re.compile(rb"\r\n(?![ \t])")

Field = tuple[bytes, bytes]
"""Name as written, and the raw value: everything after the colon, folding and final CRLF included."""


Range = tuple[int, int]


class UnreadableHeader(Exception):
    """The header is too large, or has a line that is no field: readers differ on what it says, so nobody can vouch for it."""


def read_header(body: BodyReader) -> bytes:
    """The bytes before the first empty line, each line CRLF-ended. Raises UnreadableHeader above the limit, SpoolError from the reader."""
    block = b"\r\n"  # a message may begin with the empty line
    for chunk in body.chunks():
        start = max(0, len(block) - 3)
        block += chunk
        end = block.find(b"\r\n\r\n", start)
        if end >= 0:
            return block[2 : end + 2]
        if len(block) > LIMIT:
            raise UnreadableHeader(f"no end of the header in {LIMIT} octets")
    return block[2:]


def merged(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """Byte ranges (start, end exclusive) sorted and apart."""
    result: list[Range] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return tuple(result)


def without(block: bytes, ranges: tuple[Range, ...]) -> bytes:
    """`block` without the ranges, which are sorted and apart."""
    kept, position = [], 0
    for start, end in ranges:
        kept.append(block[position:start])
        position = end
    return b"".join([*kept, block[position:]])


def fields(block: bytes) -> list[Field]:
    """The fields in order. Raises UnreadableHeader for a line that is neither a field nor a continuation of one (RFC 5322 §2.2)."""
    found = []
    for raw in CONTINUATION.split(block.removesuffix(b"\r\n")) if block else []:
        name = FIELD_NAME.match(raw)
        if name is None:
            raise UnreadableHeader("a line of the header is no field")
        found.append((name.group(1), raw[name.end() :] + b"\r\n"))
    return found
