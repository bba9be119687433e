"""Files as common tools make them: nothing about them is a finding."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from typing import Any

import pytest

from relay.inspect.archive import ArchiveLimits
from relay.inspect.engine import Engine
from relay.inspect.item import Item
from relay.inspect.yara import YaraInspector
from tests.stages.inspect.samples import PDF, PNG, label, tarred, zipped

ENGINE = Engine([YaraInspector()], ArchiveLimits())
CONTENT_TYPES = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'


def findings(data: bytes, name: str) -> list[tuple[str, str]]:
    found = ENGINE.inspect([Item("1", name, "application/octet-stream", False, data)]).findings
    return [(finding.name, finding.detail) for finding in found]


class Pipe(io.RawIOBase):
    """A file that can't seek: sizes come behind the data then."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.data += data
        return len(data)


def streamed_zip() -> bytes:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"x" * 1000)
        archive.writestr("map/é.txt", b"y")
        with archive.open("large", "w", force_zip64=True) as member:
            member.write(b"z")
    return bytes(pipe.data)


def appended_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", b"x")
        archive.comment = b"Made on a Tuesday."
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("b.txt", b"y")
    return file.getvalue()


def compressed_zip(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.txt", b"x" * 1000)
    return file.getvalue()


def with_extra_field(extra: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("[Content_Types].xml")
        entry.extra = extra
        archive.writestr(entry, CONTENT_TYPES)
        archive.writestr("word/document.xml", b"<w:document/>")
    return file.getvalue()


def open_document() -> bytes:
    """The media type first and not compressed (OpenDocument 1.3 part 2 §3.3), the rest compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", b"application/vnd.oasis.opendocument.text")
        archive.writestr("Configurations2/accelerator/", b"")
        for name in ("content.xml", "styles.xml", "META-INF/manifest.xml"):
            archive.writestr(name, b"<office:document-content/>" * 50, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def tar_of(layout: int) -> bytes:
    """With a zip archive as its last member, as in any folder of files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=layout) as archive:
        for name, data in (("map/" + "long" * 40 + "/é.txt", b"x" * 700), ("photos.zip", zipped({"a.txt": b"x"}))):
            entry = tarfile.TarInfo(name)
            entry.size, entry.uname = len(data), "piet"
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("streamed.zip", streamed_zip()),
        ("appended.zip", appended_zip()),
        ("bzip2.zip", compressed_zip(zipfile.ZIP_BZIP2)),
        ("lzma.zip", compressed_zip(zipfile.ZIP_LZMA)),
        ("empty.zip", b"PK\5\6" + bytes(18)),
        ("zip.zip", zipped({"a.zip": zipped({"b.txt": b"x"}), "z.zip": zipped({"b.txt": b"x"})}, packed=False)),
        ("word.docx", with_extra_field(b"\x20\xa2\x04\0\0\0\0\0")),  # room to grow, as Office leaves it
        ("unix.zip", with_extra_field(b"UT\x05\0\3" + bytes(4) + b"ux\x0b\0\1\4" + bytes(4) + b"\4" + bytes(4))),
        ("open.odt", open_document()),
        ("ustar.tar", tarred({"a.txt": b"x"})),
        ("gnu.tar", tar_of(tarfile.GNU_FORMAT)),
        ("pax.tar", tar_of(tarfile.PAX_FORMAT)),
        ("pax.tgz", gzip.compress(tar_of(tarfile.PAX_FORMAT))),
        ("parts.gz", gzip.compress(b"one") + gzip.compress(b"two")),
        ("padded.gz", gzip.compress(b"one") + bytes(100)),
        ("parts.bz2", bz2.compress(b"one") + bz2.compress(b"two")),
        ("parts.xz", lzma.compress(b"one") + bytes(8) + lzma.compress(b"two") + bytes(4)),
        ("old.lzma", lzma.compress(b"one" * 100, lzma.FORMAT_ALONE)),
        ("a.pdf", PDF),
        ("lines.pdf", PDF + b"\r\n\r\n\0\n"),
        ("updated.pdf", PDF + b"2 0 obj\n<< /EncryptMetadata true >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"),
        ("a.png", PNG),
        ("trailing.png", PNG + b"\r\n" + bytes(30)),
        ("zeros.bin", bytes(2000)),
    ],
    ids=label,
)
def test_an_ordinary_file_has_no_finding(name: str, data: bytes) -> None:
    assert findings(data, name) == []


def test_a_jar_is_a_program_and_nothing_more() -> None:
    assert [name for name, _ in findings(with_extra_field(b"\xfe\xca\0\0"), "java.jar")] == ["executable"]
