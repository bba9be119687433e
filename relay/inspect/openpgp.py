"""OpenPGP (RFC 9580): messages that are encrypted, in armour or as octets, and signed ones that are packed."""

import re
import zlib
from collections.abc import Iterator

_NAME = rb"-----BEGIN PGP MESSAGE(?:, PART [0-9/]{1,9})?-----"
# At the end of a line, or of what HTML makes of one: not where a program or a manual names it.
_ARMOUR = re.compile(_NAME + rb"[ \t]*(?:[\r\n<&]|\Z)")
ARMOUR = b"PGP MESSAGE"
ARMOUR_16 = tuple("-----BEGIN PGP MESSAGE".encode(charset) for charset in ("utf-16-le", "utf-16-be"))
_KEY, _PASSPHRASE_KEY, _COMPRESSED, _ENCRYPTED, _MARKER, _PROTECTED, _AUTHENTICATED, _PADDING = 1, 3, 8, 9, 10, 18, 20, 21
_MOST_PACKETS, _MANY_KEYS = 2000, 100


def is_encrypted(data: bytes, armour: bool = True) -> bool:
    """Armour anywhere (what is only signed and packed can't be told from it), unless it is known that there is none, or encrypted packets
    from octet 0 on."""
    if armour and ((ARMOUR in data and _ARMOUR.search(data)) or any(mark in data for mark in ARMOUR_16)):
        return True
    keys = 0
    for tag, body, _ in _packets(data):
        if (tag == _KEY and data[body] in (2, 3, 6)) or (tag == _PASSPHRASE_KEY and data[body] in (4, 5, 6)):
            keys += 1
        elif tag == _PROTECTED and data[body] in (1, 2):
            return True
        elif tag in (_ENCRYPTED, _AUTHENTICATED):
            return keys > 0
        elif not (tag == _MARKER and data[body : body + 3] == b"PGP") and not (tag == _PADDING and keys):
            return False
    return keys >= _MANY_KEYS


def is_packed(data: bytes) -> bool:
    """A compressed packet, with whatever in it: gpg makes one of a file that it signs."""
    for tag, body, _ in _packets(data):
        if tag != _COMPRESSED:
            return False
        start = data[body + 1 : body + 513]
        try:
            if data[body] == 1:
                first = zlib.decompressobj(-zlib.MAX_WBITS).decompress(start, 1)
            elif data[body] == 2:
                first = zlib.decompressobj().decompress(start, 1)
            else:
                return data[body] == 3 and start.startswith(b"BZh")
        except zlib.error:
            return False
        return bool(first) and first[0] >= 0x80
    return False


def _packets(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, where the body begins, where it ends (RFC 9580 §4.2). Ends where there is no whole header, and behind a body whose length is
    given in parts or not at all.
    """
    position = 0
    for _ in range(_MOST_PACKETS):
        if position + 2 >= len(data) or not data[position] & 0x80:
            return
        first, size = data[position], data[position + 1]
        if first & 0x40:
            tag, start, open_end = first & 0x3F, position + 2, 224 <= size < 255
            if 192 <= size < 224:
                size, start = (size - 192 << 8) + data[position + 2] + 192, position + 3
            elif size == 255:
                size, start = int.from_bytes(data[position + 2 : position + 6], "big"), position + 6
        else:
            tag, octets, open_end = first >> 2 & 0xF, (1, 2, 4, 0)[first & 3], first & 3 == 3
            start = position + 1 + octets
            size = int.from_bytes(data[position + 1 : start], "big")
        end = len(data) if open_end else start + size
        if start >= len(data) or end <= start:
            return
        yield tag, start, end
        if open_end:
            return
        position = end
