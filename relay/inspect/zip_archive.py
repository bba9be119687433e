"""zip: read by its directory, and where that is not the only way to read it, by the headers in front of the members, too."""

import bz2
import io
import lzma
import struct
import zipfile
import zlib
from contextlib import suppress

from relay.inspect.opening import Budget, LimitMet, Opened, joined
from relay.inspect.stream import Stream, raw_deflate
from relay.inspect.zip_layout import DESCRIBED, ENCRYPTED, LOCAL, LocalHeader, layout, local_header
from relay.model.finding import Kind
from relay.model.text import file_name

# What the standard library raises on an archive that is damaged, or compressed in a way that it does not know.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)
_STORED, _DEFLATED, _BZIP2 = 0, 8, 12  # APPNOTE §4.4.5
_STARTS = (LOCAL, b"PK\5\6", b"PK\7\x08", b"PK00")


def zip_extent(data: bytes, ended: bool = True) -> tuple[int, int] | None:
    """[start, end) of the archive that a tool would see, None where none sees one. Tools look for the end record near the end; without
    `ended` there is none anywhere."""
    if data.startswith(_STARTS):
        return 0, len(data)
    if not ended or not zipfile.is_zipfile(io.BytesIO(data)):
        return None
    found = layout(data)
    return found.first, found.end


def read_zip(opened: Opened, budget: Budget) -> None:
    """Raises LimitMet."""
    data = opened.item.data
    found = layout(data)
    for problem in found.problems:
        opened.ambiguous(problem)
    for name in found.names:
        opened.name(name)
    for start, end in found.spans:
        opened.store(start, end)
    if "archive-overlap" in found.problems:  # Fifield 2019: a bomb that claims little
        raise LimitMet("archive-overlap")
    whole = _by_directory(opened, budget)
    if found.problems or not whole:
        _by_local_headers(opened, budget)


def _by_directory(opened: Opened, budget: Budget) -> bool:
    """Whether every member could be read."""
    whole = True
    try:
        archive = zipfile.ZipFile(io.BytesIO(opened.item.data))
    except DAMAGED as error:
        opened.ambiguous("archive-damaged", type(error).__name__)
        return False
    with archive:
        members = archive.infolist()
        for member in members:
            budget.member()
            opened.name(member.filename)
            if member.orig_filename.rstrip("\0") != member.filename:  # cut at a NUL, which other tools show
                opened.name(member.orig_filename)
                opened.ambiguous("archive-name-conflict", member.orig_filename)
            if member.filename.endswith("/") and not member.compress_size:
                continue
            if member.flag_bits & ENCRYPTED:
                opened.find(Kind.ENCRYPTED, "encrypted-archive", member.filename)
                continue
            whole &= _member(archive, member, opened, budget)
        names = [member.filename for member in members]
        if len(names) != len(set(names)):
            opened.ambiguous("archive-name-repeated")
    return whole


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, opened: Opened, budget: Budget) -> bool:
    pieces: list[bytes] = []
    whole = b""
    try:
        with archive.open(member) as stream:
            budget.read_into(pieces, stream, max(member.compress_size, 1))
    except DAMAGED as error:
        opened.ambiguous("archive-damaged", f"{member.filename}: {type(error).__name__}")
        return False
    finally:
        if pieces:
            whole = joined(pieces)
            opened.add(member.filename, whole)
    if not whole:
        opened.add(member.filename, b"")
    return True


def _by_local_headers(opened: Opened, budget: Budget) -> None:
    """As tools do that read from the front, or that look for signatures: every local header there is, wherever it stands."""
    data = opened.item.data
    known, names = {item.data for item in opened.items}, set(opened.names)
    position = -1
    while (position := data.find(LOCAL, position + 1)) >= 0:
        header = local_header(data, position)
        if header is None:
            continue
        budget.member()
        name = header.name.decode("utf-8" if header.name.isascii() else "cp437")
        if file_name(name) not in names:
            names.add(file_name(name))
            opened.name(name)
        if header.flags & ENCRYPTED:
            opened.find(Kind.ENCRYPTED, "encrypted-archive", name)
            continue
        content = _unpacked(data, header, budget)
        if content and content not in known:
            known.add(content)
            opened.add(name, content)


def _unpacked(data: bytes, header: LocalHeader, budget: Budget) -> bytes:
    """As much as there is; nothing where the compression is none that we know."""
    end = len(data)
    if header.packed or not header.flags & DESCRIBED:
        end = min(header.data + header.packed, end)
    if header.method == _STORED:
        if header.flags & DESCRIBED and not header.packed:
            end = data.find(b"PK", header.data)
            while end >= 0 and data[end : end + 4] not in (LOCAL, b"PK\7\x08", b"PK\1\2"):
                end = data.find(b"PK", end + 2)
            end = len(data) if end < 0 else end
        budget.take(end - header.data)
        return data[header.data : end]
    unpacker = {_DEFLATED: raw_deflate, _BZIP2: bz2.BZ2Decompressor}.get(header.method)
    if unpacker is None:
        return b""
    stream, pieces = Stream(unpacker(), data, header.data, end), list[bytes]()
    with suppress(*DAMAGED):
        budget.read_into(pieces, stream, end - header.data)
    budget.take(stream.position - header.data)  # reading costs too: each of ten thousand headers may claim the rest of the file
    return joined(pieces)
