"""Files for the inspectors, made here."""

import io
import tarfile
import zipfile
from collections.abc import Mapping

EXE = b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + b"\x64\x86\x01\0" + bytes(240)
"""The headers of a Windows program, and nothing to run."""
PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde"
CFB = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How a compound file ([MS-CFB]) begins."""


def label(value: object) -> str:
    """For the name of a test: archives hold the time that they were made at, and are no names."""
    return value if isinstance(value, str) and value.isascii() else type(value).__name__


def zipped(members: Mapping[str, bytes], packed: bool = True) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def locked(members: Mapping[str, bytes]) -> bytes:
    """A zip archive whose members say that they are encrypted (APPNOTE 4.4.4), in both of their headers."""
    data = bytearray(zipped(members, packed=False))
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        position = -1
        while (position := data.find(mark, position + 1)) >= 0:
            data[position + flags] |= 1
    return bytes(data)


def tarred(members: Mapping[str, bytes]) -> bytes:
    """A tar archive, not compressed."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def sparse_tar(claimed: int) -> bytes:
    """A tar archive of 2 KB with a GNU sparse member of `claimed` octets, all of them holes."""
    header = bytearray(512)

    def put(position: int, text: bytes) -> None:
        header[position : position + len(text)] = text

    put(0, b"holes")
    put(100, b"0000644\0")
    put(124, b"%011o\0" % 0)
    put(156, b"S")
    put(257, b"ustar  \0")
    put(386, b"%011o\0" % claimed + b"%011o\0" % 0)  # one piece of data: at the end, empty
    put(483, b"%011o\0" % claimed)
    put(148, b" " * 8)
    put(148, b"%06o\0 " % sum(header))
    return bytes(header) + bytes(1024)


def seven_zip(coder: bytes) -> bytes:
    """The frame of a 7z archive whose header at the end names one coder."""
    end = b"\x01\x04\x06\0\0\x07\x0b\x01\0\x01\x24" + coder + bytes(8)
    start = (100).to_bytes(8, "little") + len(end).to_bytes(8, "little") + bytes(4)
    return b"7z\xbc\xaf\x27\x1c\0\4" + bytes(4) + start + bytes(100) + end
