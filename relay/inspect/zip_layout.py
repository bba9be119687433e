"""Where in a zip archive everything lies (APPNOTE 6.3.10 §4.3), without repair: entries one after the other from octet 0, the central
directory behind them, its end record behind that, and nothing else. Tools that read from the front, by the directory, or by signatures
see the same members only in such an archive.
"""

import re
import struct
from dataclasses import dataclass, field

LOCAL, CENTRAL, DESCRIPTOR, END, END_64, LOCATOR_64 = b"PK\3\4", b"PK\1\2", b"PK\7\x08", b"PK\5\6", b"PK\6\6", b"PK\6\7"
ENCRYPTED, DESCRIBED = 0x1, 0x8  # general purpose bits 0 and 3 (§4.4.4)
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<4sIQI")
_UNKNOWN_16, _UNKNOWN_32 = 0xFFFF, 0xFFFFFFFF
_PIECES = re.compile(r"[./\\\0]")
_ZIP64_EXTRA, _UNICODE_PATH = 0x0001, 0x7075


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """The header in front of a member's data, which begins at `data`. Sizes are 0 where a descriptor behind the data has them."""

    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    name: bytes
    extra: bytes
    data: int


@dataclass(slots=True)
class Layout:
    """`problems` are names of findings, each once; none means that every tool sees the same members. `spans` are [start, end) of each
    member's packed data, `names` what Unicode Path fields call them; the archive is [first, end).
    """

    problems: dict[str, None] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    first: int = 0
    end: int = 0

    def problem(self, name: str) -> None:
        """Once for each name."""
        self.problems[name] = None


def local_header(data: bytes, offset: int) -> LocalHeader | None:
    """None where there is no whole one."""
    if not data.startswith(LOCAL, offset) or offset + _LOCAL.size > len(data):
        return None
    _, _, flags, method, _, _, checksum, packed, size, name_size, extra_size = _LOCAL.unpack_from(data, offset)
    name_at = offset + _LOCAL.size
    extra_at = name_at + name_size
    if extra_at + extra_size > len(data):
        return None
    extra = data[extra_at : extra_at + extra_size]
    return LocalHeader(flags, method, checksum, packed, size, data[name_at:extra_at], extra, extra_at + extra_size)


def layout(data: bytes) -> Layout:
    """Of the archive whose end record is the last in `data`. Never raises."""
    found = Layout()
    end = data.rfind(END)
    if end < 0 or end + _END.size > len(data):
        found.problem("archive-damaged")
        return found
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(data, end)
    found.end = min(end + _END.size + comment, len(data))
    if found.end != len(data):
        found.problem("archive-trailing-data")
    if LOCAL in data[end:]:
        found.problem("archive-trailing-data")
    directory_end = end
    if data.startswith(LOCATOR_64, end - _LOCATOR_64.size) and end >= _LOCATOR_64.size:
        given = _zip64(data, end - _LOCATOR_64.size, (here, count, size, start), found)
        if given is None:
            return found
        directory_end, here, count, size, start = given
    if disk not in (0, _UNKNOWN_16) or first_disk not in (0, _UNKNOWN_16) or here != count:
        found.problem("archive-headers-differ")
    begin = directory_end - size
    if begin < 0:
        found.problem("archive-damaged")
        return found
    found.first = max(begin - start, 0)
    if begin != start:
        found.problem("archive-leading-data")
    _entries(data, begin, directory_end, count, found)
    return found


def _zip64(data: bytes, locator: int, given: tuple[int, ...], found: Layout) -> tuple[int, int, int, int, int] | None:
    """Where the zip64 end record begins, and its four numbers."""
    record = locator - _END_64.size
    if record < 0 or not data.startswith(END_64, record):  # it has an extension, or lies elsewhere
        found.problem("archive-headers-differ")
        return None
    if _LOCATOR_64.unpack_from(data, locator)[2] != record:
        found.problem("archive-leading-data")
    large = _END_64.unpack_from(data, record)[6:]
    unknown = (_UNKNOWN_16, _UNKNOWN_16, _UNKNOWN_32, _UNKNOWN_32)
    if any(small not in (none, number) for small, none, number in zip(given, unknown, large, strict=True)):
        found.problem("archive-headers-differ")
    here, count, size, start = large
    return record, here, count, size, start


def _entries(data: bytes, begin: int, end: int, count: int, found: Layout) -> None:
    members: list[tuple[int, int, LocalHeader | None]] = []
    position, number = begin, 0
    while position + _CENTRAL.size <= end and data.startswith(CENTRAL, position):
        entry = _CENTRAL.unpack_from(data, position)
        flags, method, checksum, packed, size = entry[3], entry[4], *entry[7:10]
        name_size, extra_size, comment_size, offset = entry[10], entry[11], entry[12], entry[16]
        name_at = position + _CENTRAL.size
        name = data[name_at : name_at + name_size]
        extra = data[name_at + name_size : name_at + name_size + extra_size]
        size, packed, offset = _large(extra, size, packed, offset)
        local = local_header(data, offset + found.first)
        if local is None or not _same(local, flags, method, checksum, packed, size, name):
            found.problem("archive-headers-differ")
        _unicode_paths(name, extra + (local.extra if local else b""), found)
        members.append((offset + found.first, packed, local))
        position = name_at + name_size + extra_size + comment_size
        number += 1
    if position != end or number != count:
        found.problem("archive-headers-differ")
    _in_a_row(data, begin, members, found)


def _same(local: LocalHeader, flags: int, method: int, checksum: int, packed: int, size: int, name: bytes) -> bool:
    if local.name != name or local.method != method or (local.flags ^ flags) & (ENCRYPTED | DESCRIBED):
        return False
    local_size, local_packed, _ = _large(local.extra, local.size, local.packed, 0)
    stated = (local.checksum, local_packed, local_size)
    real = (checksum, packed, size)
    return all(own == central or (own == 0 and bool(flags & DESCRIBED)) for own, central in zip(stated, real, strict=True))


def _large(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset of 64 bits, where those of 32 bits say so (§4.5.3)."""
    numbers = [size, packed, offset]
    for kind, body in _extras(extra):
        if kind == _ZIP64_EXTRA:
            large = [value for (value,) in struct.iter_unpack("<Q", body[: len(body) // 8 * 8])]
            for index, number in enumerate(numbers):
                if number == _UNKNOWN_32 and large:
                    numbers[index] = large.pop(0)
    return numbers[0], numbers[1], numbers[2]


def _extras(extra: bytes) -> list[tuple[int, bytes]]:
    fields, position = [], 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        fields.append((kind, extra[position + 4 : position + 4 + size]))
        position += 4 + size
    return fields


def _unicode_paths(name: bytes, extra: bytes, found: Layout) -> None:
    """§4.6.9: version, CRC-32 of the name in the header, name in UTF-8. Some tools show this one, others that in the header."""
    for kind, body in _extras(extra):
        if kind != _UNICODE_PATH:
            continue
        text = body[5:].decode("utf-8", "replace")
        if text not in found.names:
            found.names.append(text)
        if not _transliterated(text, name):
            found.problem("archive-name-conflict")


def _transliterated(text: str, name: bytes) -> bool:
    """Whether `name` may be `text` in some older charset: of the pieces between dots and slashes, those that are ASCII are the same. So
    extension and folders of ASCII never differ.
    """
    pieces, others = _PIECES.split(text), _PIECES.split(name.decode("latin-1"))
    return len(pieces) == len(others) and all(
        piece == other if piece.isascii() else bool(other) for piece, other in zip(pieces, others, strict=True)
    )


def _in_a_row(data: bytes, begin: int, members: list[tuple[int, int, LocalHeader | None]], found: Layout) -> None:
    """Each member's header where the last one ended, and the directory behind the last one."""
    members.sort(key=lambda member: member[0])
    position = found.first
    for index, (offset, packed, local) in enumerate(members):
        if offset != position:
            found.problem("archive-gap" if offset > position else "archive-overlap")
        if local is None:
            return
        following = members[index + 1][0] if index + 1 < len(members) else begin
        position = local.data + packed
        found.spans.append((local.data, position))
        if local.flags & DESCRIBED:
            position += _descriptor(data, position, following - position)
    if position != begin:
        found.problem("archive-gap" if begin > position else "archive-overlap")


def _descriptor(data: bytes, position: int, room: int) -> int:
    """The size of the data descriptor (§4.3.9) that fills `room`; some tools write none, and most write a signature."""
    signed = data.startswith(DESCRIPTOR, position)
    return room if room in ((16, 24) if signed else (0, 12, 20)) else 0
