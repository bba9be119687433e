"""Archives: what is in them, under limits, and what can't be looked into. zip, tar, gz, bz2 and xz are opened; 7z and RAR are named
and not opened, because the readers there are have had memory errors again and again.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import IO, Any

from relay.inspect.item import Item
from relay.model.finding import Finding, Kind
from relay.model.text import file_name, printable

NAME = "archive"
PIECE = 256 * 1024
_UNREADABLE = {
    "application/x-7z-compressed": "7z",
    "application/x-rar": "rar",
    "application/vnd.rar": "rar",
    "application/x-rar-compressed": "rar",
    "application/vnd.ms-cab-compressed": "cab",
    "application/x-iso9660-image": "iso",
}
_STREAMS = {
    "application/gzip": "gz",
    "application/x-gzip": "gz",
    "application/x-bzip2": "bz2",
    "application/x-xz": "xz",
}


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """For one message: members, octets unpacked, nesting; `ratio` unpacked to packed for one member."""

    members: int = 10_000
    octets: int = 512 * 1024 * 1024
    depth: int = 4
    ratio: int = 200


class LimitMet(Exception):
    """`args[0]` is the name of the limit."""


@dataclass(slots=True)
class Budget:
    """What is left of the limits for one message."""

    limits: ArchiveLimits
    members: int = 0
    octets: int = 0

    def member(self) -> None:
        self.members += 1
        if self.members > self.limits.members:
            raise LimitMet("archive-members")

    def take(self, octets: int) -> None:
        self.octets += octets
        if self.octets > self.limits.octets:
            raise LimitMet("archive-size")


@dataclass(slots=True)
class Opened:
    """The names of all members, the members that were unpacked, and what there is to say."""

    names: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def open_archive(item: Item, budget: Budget, depth: int) -> Opened | None:
    """None for what is no archive. Never raises on what an archive holds."""
    opened = Opened()
    try:
        if item.data[:4] == b"PK\x03\x04" or item.data[:4] == b"PK\x05\x06" or zipfile.is_zipfile(io.BytesIO(item.data)):
            _check_depth(budget, depth)
            _zip(item, budget, opened)
        elif item.true_type in _STREAMS:
            _check_depth(budget, depth)
            _stream(item, _STREAMS[item.true_type], budget, opened)
        elif item.true_type in ("application/x-tar", "application/x-gtar") or item.data[257:262] == b"ustar":
            _check_depth(budget, depth)
            _tar(item, budget, opened)
        elif item.true_type in _UNREADABLE:
            opened.findings.append(_finding(Kind.LIMIT, "archive-unreadable", item, _UNREADABLE[item.true_type]))
        else:
            return None
    except LimitMet as met:
        opened.findings.append(_finding(Kind.LIMIT, str(met.args[0]), item))
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        opened.findings.append(_finding(Kind.AMBIGUOUS, "archive-damaged", item, type(error).__name__))
    return opened


def _check_depth(budget: Budget, depth: int) -> None:
    if depth > budget.limits.depth:
        raise LimitMet("archive-depth")


def _finding(kind: Kind, name: str, item: Item, detail: str = "") -> Finding:
    return Finding(kind, NAME, name, item.path, printable(detail))


def _zip(item: Item, budget: Budget, opened: Opened) -> None:
    with zipfile.ZipFile(io.BytesIO(item.data)) as archive:
        members = archive.infolist()
        _check_overlap(item, members, opened)
        for member in members:
            budget.member()
            opened.names.append(file_name(member.filename))
            if member.is_dir():
                continue
            if member.flag_bits & 0x1:  # APPNOTE 4.4.4: bit 0, encrypted
                opened.findings.append(_finding(Kind.ENCRYPTED, "encrypted-archive", item, member.filename))
                continue
            with archive.open(member) as stream:
                data = _limited(stream, budget, max(member.compress_size, 1))
            _add(item, member.filename, data, opened)


def _check_overlap(item: Item, members: list[zipfile.ZipInfo], opened: Opened) -> None:
    """Entries that share bytes (Fifield 2019), or a local header far from where the directory says, are read differently by different
    tools.
    """
    end = 0
    for member in sorted(members, key=lambda entry: entry.header_offset):
        if member.header_offset < end:
            opened.findings.append(_finding(Kind.AMBIGUOUS, "archive-overlap", item, member.filename))
            raise LimitMet("archive-overlap")
        end = member.header_offset + 30 + member.compress_size
    names = [member.filename for member in members]
    if len(names) != len(set(names)):
        opened.findings.append(_finding(Kind.AMBIGUOUS, "archive-name-repeated", item))


def _tar(item: Item, budget: Budget, opened: Opened) -> None:
    with tarfile.open(fileobj=io.BytesIO(item.data), mode="r:") as archive:
        for member in archive:
            budget.member()
            opened.names.append(file_name(member.name))
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is not None:
                # Against the archive, and not the member: a sparse one is larger than what it takes.
                _add(item, member.name, _limited(stream, budget, len(item.data)), opened)
        if item.data[archive.offset :].strip(b"\0"):  # some tools read on behind the end
            opened.findings.append(_finding(Kind.AMBIGUOUS, "archive-trailing-data", item))


def _stream(item: Item, kind: str, budget: Budget, opened: Opened) -> None:
    budget.member()
    source = io.BytesIO(item.data)
    openers: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    name = item.name.removesuffix(f".{kind}").removesuffix(".tgz") or "content"
    opened.names.append(file_name(name))
    with openers[kind](source) as stream:
        _add(item, name, _limited(stream, budget, max(len(item.data), 1)), opened)


def _limited(stream: IO[bytes], budget: Budget, packed: int) -> bytes:
    """Reads piece by piece, and stops where a limit is met: a bomb costs a piece, not its claim."""
    pieces = []
    size = 0
    while piece := stream.read(PIECE):
        size += len(piece)
        budget.take(len(piece))
        if size > PIECE and size > packed * budget.limits.ratio:
            raise LimitMet("archive-ratio")
        pieces.append(piece)
    return b"".join(pieces)


def _add(item: Item, name: str, data: bytes, opened: Opened) -> None:
    shown = file_name(name.rpartition("/")[2] or name)
    opened.items.append(Item(f"{item.path}/{printable(name, 100)}", shown, "", False, data))
