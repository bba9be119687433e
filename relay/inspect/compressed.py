"""gzip, bzip2, xz and lzma: one stream or several, one after the other, and nothing behind them."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

from relay.inspect import gzip_archive
from relay.inspect.opening import Budget, Opened, joined
from relay.inspect.stream import Stream

MEMORY = 256 * 1024 * 1024
"""Octets that one xz or lzma stream may ask for; `xz -9` needs 65 MiB."""
_DAMAGED = (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
_BLOCKS = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")  # a block, and the end of a stream without any
_MAGIC = {
    "gz": (gzip_archive.MAGIC,),
    "bz2": tuple(b"BZh%d" % level + block for level in range(1, 10) for block in _BLOCKS),
    "xz": (b"\xfd7zXZ\0",),
}
_UNPACKERS: dict[str, Callable[[], Any]] = {
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MEMORY),
}
_ENDINGS = {"gz": (".gz", ".tgz"), "bz2": (".bz2", ".tbz", ".tbz2"), "xz": (".xz", ".txz"), "lzma": (".lzma", ".tlz")}
_DICTIONARIES = frozenset({size for n in range(12, 32) for size in (2**n, 2**n + 2 ** (n - 1))} | {2**32 - 1})


def compressed_form(data: bytes) -> str | None:
    """`gz`, `bz2`, `xz`, `lzma` or None, by the first octets."""
    for form, magic in _MAGIC.items():
        if data.startswith(magic):
            return form
    return "lzma" if _is_lzma(data) else None


def _is_lzma(data: bytes) -> bool:
    """The format of LZMA Utils has no magic: properties, dictionary size, size unpacked (xz's lzma-file-format.txt §1.1). What has the
    header unpacks a few octets as well, or it is something else.
    """
    if len(data) < 18 or data[0] >= 225 or data[13] != 0:  # the first octet of the range coder
        return False
    dictionary, size = struct.unpack_from("<IQ", data, 1)
    if dictionary not in _DICTIONARIES or 2**38 <= size < 2**64 - 1:
        return False
    try:
        return bool(_UNPACKERS["lzma"]().decompress(data[:4096], 64))
    except (lzma.LZMAError, EOFError):
        return False


def read_compressed(opened: Opened, form: str, budget: Budget) -> None:
    """Raises LimitMet. What was unpacked before an error is kept."""
    budget.member()
    data = opened.item.data
    name = _without_ending(opened.item.name, form) or "content"
    opened.name(name)
    pieces: list[bytes] = []
    try:
        end = gzip_archive.read_gzip(opened, budget, pieces) if form == "gz" else _streams(data, form, budget, pieces)
        if data[end:].strip(b"\0"):
            opened.ambiguous("archive-trailing-data")
    except _DAMAGED as error:
        opened.ambiguous("archive-damaged", type(error).__name__)
    finally:
        opened.add(name, joined(pieces))


def _streams(data: bytes, form: str, budget: Budget, pieces: list[bytes]) -> int:
    """Where the last one ends. An xz file may have zeros between two, in fours (the .xz file format §2.2)."""
    position = 0
    while True:
        stream = Stream(_UNPACKERS[form](), data, position, len(data))
        budget.read_into(pieces, stream, len(data))
        position = stream.position
        while form == "xz" and data.startswith(bytes(4), position):
            position += 4
        if not data.startswith(_MAGIC.get(form, ()), position) or position == len(data):
            return position


def _without_ending(name: str, form: str) -> str:
    for ending in _ENDINGS[form]:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name
