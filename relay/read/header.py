"""A header block to fields, strictly (RFC 5322 §2.2) or as well as can be."""

import re

from relay.read.ambiguity import Ambiguous
from relay.read.limits import LimitReached
from relay.read.part import HeaderField

_NAME = rb"[!-9;-~]+"
_FIELD = re.compile(rb"(" + _NAME + rb"):((?:[^\r\n]*)(?:\r\n[ \t]+[^\r\n \t][^\r\n]*)*)\r\n")
# Anchored, and possessive: a long line without a colon is walked over once.
_LOOSE = re.compile(rb"^([!-9;-~]++)[ \t]*+:((?:[^\r\n]*+)(?:\r?\n[ \t][^\r\n]*+)*+)\r?\n?", re.MULTILINE)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
STRUCTURAL = frozenset({"content-type", "content-transfer-encoding", "content-disposition", "mime-version", "from", "sender"})
_SINGLE = frozenset({"content-type", "content-transfer-encoding", "content-disposition", "mime-version", "content-id"})


def header_end(data: bytes, start: int, end: int, limit: int, part: str) -> tuple[int, int]:
    """Where the fields end and where the body begins. Raises LimitReached, Ambiguous."""
    if data.startswith(b"\r\n", start, end):
        return start, start + 2
    found = data.find(b"\r\n\r\n", start, end)
    fields_end = found + 2 if found >= 0 else end
    if fields_end - start > limit:
        raise LimitReached("header-size")
    if found < 0:
        # A header and nothing else: whole only if its last line is.
        if end > start and not data.endswith(b"\r\n", start, end):
            raise Ambiguous("header-unterminated", part)
        return end, end
    return fields_end, found + 4


def strict_fields(data: bytes, start: int, end: int, part: str) -> list[HeaderField]:
    """Every line a field or the continuation of one. Raises Ambiguous."""
    fields = []
    position = start
    while position < end:
        found = _FIELD.match(data, position, end)
        if not found:
            raise Ambiguous("header-syntax", part)
        fields.append(HeaderField(found[1].decode("ascii").lower(), found[2].replace(b"\r\n", b""), position, found.end(), found[2]))
        position = found.end()
    if _CONTROL.search(data, start, end):
        raise Ambiguous("header-control", part)
    names = [item.name for item in fields if item.name in _SINGLE]
    if len(names) != len(set(names)):
        raise Ambiguous("mime-field-repeated", part)
    for item in fields:
        if item.name in STRUCTURAL and not _is_utf8(item.value):
            raise Ambiguous("header-eight-bit", part)
    return fields


def loose_fields(data: bytes, limit: int) -> list[HeaderField]:
    """The fields of the message header for facts, when it is outside the strict grammar: what can be read, up to `limit` octets."""
    end = min((position for position in (data.find(b"\r\n\r\n"), data.find(b"\n\n")) if position >= 0), default=len(data)) + 2
    return [
        HeaderField(found[1].decode("ascii").lower(), re.sub(rb"\r?\n", b"", found[2]), found.start(), found.end())
        for found in _LOOSE.finditer(data, 0, min(end, limit, len(data)))
    ]


def one(fields: list[HeaderField], name: str) -> HeaderField | None:
    """The first field of a name."""
    return next((item for item in fields if item.name == name), None)


def _is_utf8(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
