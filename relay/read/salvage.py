"""What may be hidden in a message that readers read in different ways: every run of base64 lines, every uuencoded file and all
quoted-printable in it, decoded, wherever it stands.

No reader of mail works like this; it is for inspection only, so that content which one reader out there might find is looked at here too.
"""

import binascii
import re

from relay.read.limits import ReadLimits
from relay.read.part import Leaf

_LINE = re.compile(rb"([^\r\n]*)(?:\r\n|\r|\n|\Z)")
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/_-]+={0,3}")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_UU_BEGIN = re.compile(rb"begin(?:-base64)? [0-7]{3,4} [^\r\n]")
PATH = "salvaged"
MIN_FIRST_LINE = 16  # octets: 12 decoded; a shorter run is a word, and holds nothing
MIN_DECODED = 12
DEPTH = 3  # base64 in base64; each is three quarters of the one it came from


def salvage(data: bytes, limits: ReadLimits) -> list[Leaf]:
    """At most `limits.parts` leaves without name and type, numbered; together at most about four times the message. Never raises."""
    found = _quoted_printable(data)
    layer = [data]
    for _ in range(DEPTH):
        layer = [inner for outer in layer for inner in _blocks(outer, limits.parts)]
        found += layer
    return [Leaf(f"{PATH}.{number}", "", "", True, content) for number, content in enumerate(found[: limits.parts], 1)]


def _quoted_printable(data: bytes) -> list[bytes]:
    # Only what differs from the message as it is, and that is inspected anyway.
    decoded = binascii.a2b_qp(data) if b"=" in data else data
    return [decoded] if decoded != data else []


def _blocks(data: bytes, most: int) -> list[bytes]:
    found: list[bytes] = []
    run: list[bytes] = []
    uuencoded: list[bytes] | None = None
    for match in _LINE.finditer(data):
        raw = match[1]
        line = raw.strip(b" \t")
        if len(found) >= most:
            break
        if uuencoded is not None:
            if raw in (b"end", b"", b"===="):
                found.append(b"".join(uuencoded))
                uuencoded = None
            else:
                uuencoded.append(_uu_line(raw))
        elif _UU_BEGIN.match(raw):
            uuencoded = []
        elif _BASE64_LINE.fullmatch(line) and (run or len(line) >= MIN_FIRST_LINE):
            run.append(line)
        elif run:
            found.append(_base64(run))
            run = []
    return [content for content in found if len(content) >= MIN_DECODED]


def _base64(lines: list[bytes]) -> bytes:
    """Each stretch up to its padding by itself, and without what a stretch has over."""
    decoded = []
    for stretch in re.split(rb"=+", b"".join(lines).translate(_URL_SAFE)):
        decoded.append(binascii.a2b_base64(_padded(stretch)))
    return b"".join(decoded)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        return binascii.a2b_base64(_padded(_NOT_BASE64.sub(b"", line)))


def _padded(text: bytes) -> bytes:
    whole = len(text) - (1 if len(text) % 4 == 1 else 0)
    return text[:whole] + b"=" * (-whole % 4)
