"""Containers that are named and not opened, by what they are and not by what they are called: there is no reader for them that could be
given hostile bytes.
"""

import re
import zlib
from collections.abc import Callable

from relay.inspect.item import Item, Sign

CFB = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How a compound file ([MS-CFB]) begins."""
_TYPES = {
    "application/x-7z-compressed": "7z",
    "application/x-rar": "rar",
    "application/vnd.rar": "rar",
    "application/x-rar-compressed": "rar",
    "application/vnd.ms-cab-compressed": "cab",
    "application/x-iso9660-image": "iso",
    "application/x-cpio": "cpio",
    "application/x-arj": "arj",
    "application/x-ace": "ace",
    "application/x-lzh-compressed": "lha",
    "application/x-lha": "lha",
    "application/zstd": "zstd",
    "application/x-zstd": "zstd",
    "application/x-lzip": "lzip",
    "application/x-lz4": "lz4",
    "application/x-compress": "compress",
    "application/x-ms-wim": "wim",
    "application/x-msi": "msi",
    "application/x-apple-diskimage": "dmg",
    "application/x-qemu-disk": "disk-image",
}
# Programs that unpack 7z and RAR look for their beginning anywhere in a file, as in those that unpack themselves. The octets behind it
# tell an archive from a program that only knows how archives begin: the version, and the type of the first header.
SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c\0"
RAR = b"Rar!\x1a\x07"
_ANYWHERE = {
    "7z": (Sign.SEVEN_ZIP, re.compile(re.escape(SEVEN_ZIP) + rb"[\0-\x09]", re.DOTALL)),
    "rar": (Sign.RAR, re.compile(re.escape(RAR) + rb"(?:\0..\x73|\x01\0.{5,7}[\x01\x04])", re.DOTALL)),
}
_AT = {
    "7z": ((0, b"7z\xbc\xaf\x27\x1c"),),
    "rar": ((0, b"Rar!\x1a\x07"), (0, b"RE~^")),
    "cab": ((0, b"MSCF\0\0\0\0"), (0, b"ISc(")),
    "iso": tuple((sector * 2048 + 1, name) for sector in (16, 17, 18) for name in (b"CD001", b"BEA01", b"NSR0")),
    "wim": ((0, b"MSWIM\0\0\0"),),
    "zstd": tuple((0, bytes([first]) + b"\xb5\x2f\xfd") for first in range(0x1E, 0x29))
    + tuple((0, bytes([first]) + b"\x2a\x4d\x18") for first in range(0x50, 0x60)),
    "lz4": ((0, b"\x04\x22\x4d\x18"), (0, b"\x02\x21\x4c\x18")),
    "lzip": ((0, b"LZIP"),),
    "lzop": ((0, b"\x89LZO\0\r\n\x1a\n"),),
    "lrzip": ((0, b"LRZI\0"),),
    "snappy": ((0, b"\xff\x06\0\0sNaPpY"),),
    "ace": ((7, b"**ACE**"),),
    "zoo": ((20, b"\xdc\xa7\xc4\xfd"),),
    "ar": ((0, b"!<arch>\n"),),
    "xar": ((0, b"xar!"),),
    "rpm": ((0, b"\xed\xab\xee\xdb"),),
    "chm": ((0, b"ITSF\3\0\0\0"),),
    "alz": ((0, b"ALZ\1"), (0, b"EGGA")),
    "stuffit": ((0, b"SIT!"), (0, b"StuffIt (c)")),
    "zpaq": ((0, b"zPQ\1"), (0, b"zPQ\2"), (0, b"7kSt\xa0\x31\x83\xd3\x8c\xb2\x28\xb0")),
    "ms-compress": ((0, b"SZDD\x88\xf0\x27\x33"), (0, b"KWAJ\x88\xf0\x27\xd1"), (0, b"SZ \x88\xf0\x27\x33\xd1")),
    "disk-image": ((0, b"conectix"), (-512, b"conectix"), (0, b"vhdxfile"), (0, b"KDMV"), (0, b"QFI\xfb"), (0, b"hsqs")),
    "dmg": ((-512, b"koly\0\0\0\4"),),
    "tnef": ((0, b"\x78\x9f\x3e\x22"),),  # [MS-OXTNEF] §2.1.3.1
}
_PLACES = [place for places in _AT.values() for place in places]
_BY_OFFSET = {offset: tuple(magic for at, magic in _PLACES if at == offset) for offset, _ in _PLACES}
_LHA = re.compile(rb"..-(?:lh[0-9a-z]|lz[0-9s]|pm[0-9s])-.{13}[\0-\3]", re.DOTALL)
_CPIO = re.compile(rb"07070[12][0-9A-Fa-f]{104}|070707[0-7]{70}")
_COMPRESS = re.compile(rb"\x1f\x9d[\x09-\x10\x89-\x90]")
# [MS-CFB] containers of other files: a class in the root entry, or the name of a stream
_IN_CFB = {
    "msi": (bytes.fromhex("84100c0000000000c000000000000046"), bytes.fromhex("86100c0000000000c000000000000046")),
    "msg": ("__substg1.0_".encode("utf-16-le"),),  # [MS-OXMSG] §2.2.1
    "ole-package": ("\1Ole10Native".encode("utf-16-le"),),  # [MS-OLEDS] §2.3.6
}
_TNEF_DECLARED = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})


def unreadable_forms(item: Item, held: Callable[[int, int], bool]) -> list[str]:
    """What it is, by name; mostly nothing. `held` says what lies in a member of an archive that was opened."""
    data, forms = item.data, set[str]()
    if item.true_type in _TYPES:
        forms.add(_TYPES[item.true_type])
    for form, (sign, pattern) in _ANYWHERE.items():
        if sign in item.signs and any(not held(*found.span()) for found in pattern.finditer(data)):
            forms.add(form)
    if any(_stands(data, offset, magics) for offset, magics in _BY_OFFSET.items()):  # mostly not
        forms |= {form for form, places in _AT.items() if any(_stands(data, offset, magic) for offset, magic in places)}
    forms |= {form for form, pattern in (("lha", _LHA), ("cpio", _CPIO), ("compress", _COMPRESS)) if pattern.match(data)}
    if _is_arj(data):
        forms.add("arj")
    if item.declared in _TNEF_DECLARED:
        forms.add("tnef")
    if data.startswith(CFB):
        forms |= {form for form, marks in _IN_CFB.items() if any(mark in data for mark in marks)}
    return sorted(forms)


def _stands(data: bytes, offset: int, magic: bytes | tuple[bytes, ...]) -> bool:
    start = offset if offset >= 0 else len(data) + offset
    return start >= 0 and data.startswith(magic, start)


def _is_arj(data: bytes) -> bool:
    """Two octets are no magic; the checksum of the main header is one."""
    size = int.from_bytes(data[2:4], "little")
    if data[:2] != b"\x60\xea" or not 0 < size <= 2600:
        return False
    return zlib.crc32(data[4 : 4 + size]) == int.from_bytes(data[4 + size : 8 + size], "little")
