"""Sheets of Excel 4 macros in workbooks of the old binary form (BIFF)."""

import re

# BoundSheet8 ([MS-XLS] §2.4.28): its number, its length; where the sheet begins, how it is hidden, what it is (dt 1: macros), and the
# length of its name, 31 at most.
_BOUND_SHEET = re.compile(rb"\x85\x00(?P<length>.)\x00.{4}[\x00-\x02\x40-\x42\x80-\x82]\x01(?P<name>[\x01-\x1f])(?P<wide>.)", re.DOTALL)
_BOF_MACRO = re.compile(rb"\x09\x08[\x08\x10]\x00\x00[\x05\x06]\x40\x00", re.DOTALL)
"""The begin of a sheet of macros in BIFF 5 and 8 ([MS-XLS] §2.4.21: dt 0x0040)."""
_OLD = (b"\x09\x00\x04\x00", b"\x09\x02\x06\x00", b"\x09\x04\x06\x00")
"""BOF of BIFF 2, 3 and 4, which are one sheet and no compound file."""


def has_macro_sheet(data: bytes) -> bool:
    """Whether a compound file holds one, whatever its name and however well it is hidden. Records are looked for where they lie, and not by
    way of the file's own directory: what a reader would not find there, another one may."""
    return _BOF_MACRO.search(data) is not None or any(map(_fits, _BOUND_SHEET.finditer(data)))


def _fits(found: re.Match[bytes]) -> bool:
    """The length of the record is that of its name: in BIFF 8 with a flag for two octets a character, in BIFF 5 without."""
    length, name, wide = found["length"][0], found["name"][0], found["wide"][0]
    return length in (7 + name, 8 + name * (1 + wide) if wide <= 1 else 0)


def is_macro_sheet(data: bytes) -> bool:
    """Whether this is a sheet of macros by itself, as before Excel 5, which today's Excel still opens."""
    return data[:4] in _OLD and data[6:8] == b"\x40\x00"
