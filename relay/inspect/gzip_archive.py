"""gzip (RFC 1952): members one after the other, each with a name perhaps, and nothing behind them but zeros."""

import struct
import zlib

from relay.inspect.opening import Budget, Opened
from relay.inspect.stream import Stream, raw_deflate

MAGIC = b"\x1f\x8b\x08"
_HEADER_CHECKSUM, _EXTRA, _NAME, _COMMENT = 0x02, 0x04, 0x08, 0x10  # §2.3.1


def read_gzip(opened: Opened, budget: Budget, pieces: list[bytes]) -> int:
    """Unpacks into `pieces`; gives where the last member ends. Raises LimitMet, and ValueError, EOFError, zlib.error on what is damaged."""
    data, position = opened.item.data, 0
    while data.startswith(MAGIC, position):
        name, start = _header(data, position)
        if name is not None:
            budget.member()
            opened.name(name)
        stream = Stream(raw_deflate(), data, start, len(data))
        before = len(pieces)
        budget.read_into(pieces, stream, len(data))
        checksum, size = 0, 0
        for piece in pieces[before:]:
            checksum, size = zlib.crc32(piece, checksum), size + len(piece)
        position = stream.position + 8
        if data[stream.position : position] != struct.pack("<II", checksum, size & 0xFFFFFFFF):
            raise ValueError("the checksum is wrong")
    return position


def _header(data: bytes, start: int) -> tuple[str | None, int]:
    """The name, and where the packed data begins. Raises ValueError."""
    position, flags = start + 10, data[start + 3] if start + 3 < len(data) else 0xFF
    if flags & 0xE0:
        raise ValueError("reserved flags")
    if flags & _EXTRA:
        position += 2 + int.from_bytes(data[position : position + 2], "little")
    texts = []
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            end = data.index(b"\0", position)
            texts.append((flag, data[position:end]))
            position = end + 1
    position += 2 if flags & _HEADER_CHECKSUM else 0
    named = [text.decode("latin-1") for flag, text in texts if flag == _NAME]
    return (named[0] if named else None), position
