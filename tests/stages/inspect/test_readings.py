"""A file that shows one content to one tool and another to the next: every reading of it is inspected, and that there are two is said."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

import pytest

from relay.inspect.archive import ArchiveLimits
from relay.inspect.engine import Engine, Inspected
from relay.inspect.item import Item
from relay.inspect.yara import YaraInspector
from relay.model.finding import Kind
from tests.servers.clamd import EICAR
from tests.stages.cost import in_proportion
from tests.stages.inspect.samples import PDF, PNG, label, locked, seven_zip, tarred, zipped

EMPTY_ZIP = b"PK\5\6" + bytes(18)
RAR = b"Rar!\x1a\x07\x01\0" + bytes(200)
MEBIBYTE = 1024 * 1024


def inspected(data: bytes, name: str = "a") -> Inspected:
    return Engine([YaraInspector()], ArchiveLimits()).inspect([Item("1", name, "", False, data)])


def names(data: bytes, kind: Kind) -> set[str]:
    return {finding.name for finding in inspected(data).findings if finding.kind is kind}


def members(data: bytes, name: str = "a") -> tuple[str, ...]:
    return inspected(data, name).attachments[0].members


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (seven_zip(b"\x03\x01\x01"), "7z"),
        (RAR, "rar"),
        (b"MSCF\0\0\0\0" + bytes(100), "cab"),
    ],
    ids=label,
)
def test_an_empty_zip_behind_an_archive_that_is_not_opened_hides_nothing(data: bytes, kind: str) -> None:
    findings = inspected(data + EMPTY_ZIP).findings
    assert kind in [finding.detail for finding in findings if finding.name == "archive-unreadable"]
    assert "archive-two-formats" in names(data + EMPTY_ZIP, Kind.AMBIGUOUS)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(EICAR),
        bz2.compress(EICAR),
        lzma.compress(EICAR),
        lzma.compress(EICAR, lzma.FORMAT_ALONE),
        tarred({"tool.txt": EICAR}),
    ],
    ids=("gz", "bz2", "xz", "lzma", "tar"),
)
def test_an_empty_zip_behind_an_archive_is_a_second_reading_and_both_are_inspected(data: bytes) -> None:
    assert names(data + EMPTY_ZIP, Kind.MALWARE) == {"eicar"}
    assert {"archive-two-formats", "archive-trailing-data"} <= names(data + EMPTY_ZIP, Kind.AMBIGUOUS)


def test_of_two_zip_archives_in_a_row_both_are_inspected() -> None:
    data = zipped({"tool.txt": EICAR}) + zipped({"read.txt": b"hello"})
    assert names(data, Kind.MALWARE) == {"eicar"}
    assert names(data, Kind.AMBIGUOUS) == {"archive-leading-data"}
    assert set(members(data)) == {"tool.txt", "read.txt"}


def with_entry_left_out() -> bytes:
    """The directory knows only the second of two members."""
    data = zipped({"one.js": EICAR, "two.txt": b"hello"})
    directory = data.index(b"PK\1\2")
    second, end = data.index(b"PK\1\2", directory + 4), data.index(b"PK\5\6")
    entry = data[second:end]
    return data[:directory] + entry + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(entry), directory, 0)


def with_gap() -> bytes:
    """Octets between the last member and the directory, and offsets that fit."""
    data = zipped({"a.txt": b"hello"})
    directory, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    hidden = zipped({"tool.js": EICAR})
    moved = struct.pack("<I", directory + len(hidden))
    return data[:directory] + hidden + data[directory : end + 16] + moved + data[end + 20 :]


def with_local_header_of(change: int, value: bytes) -> bytes:
    data = bytearray(zipped({"a.txt": EICAR}))
    data[change : change + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (with_entry_left_out(), "archive-gap"),
        (with_gap(), "archive-gap"),
        (b"junk" + zipped({"a.txt": EICAR}), "archive-leading-data"),
        (PNG + zipped({"a.txt": EICAR}), "archive-leading-data"),
        (PDF + zipped({"a.txt": EICAR}), "archive-leading-data"),
        (zipped({"a.txt": EICAR}) + b"junk", "archive-trailing-data"),
        (zipped({"a.txt": EICAR}) + bytes(100_000), "archive-trailing-data"),
        (with_local_header_of(18, b"\1\0\0\0"), "archive-headers-differ"),
        (with_local_header_of(8, b"\0\0"), "archive-headers-differ"),
        (with_local_header_of(30, b"b"), "archive-headers-differ"),
        (
            zipped({"a.txt": EICAR}).replace(b"PK\5\6" + bytes(4) + b"\1\0\1\0", b"PK\5\6" + bytes(4) + b"\2\0\2\0"),
            "archive-headers-differ",
        ),
        (tarred({"a.txt": b"x"})[:1024] + b"\1" * 512 + tarred({"b.js": EICAR}), "archive-trailing-data"),
        (tarred({"a.txt": b"x"}) + tarred({"b.js": EICAR}), "archive-trailing-data"),
        (b"\1" * 512 + tarred({"b.js": EICAR}), "archive-leading-data"),
        (gzip.compress(EICAR)[:-8] + bytes(8), "archive-damaged"),
        (zipped({"a.txt": EICAR}, packed=False)[:-22], "archive-damaged"),
    ],
    ids=label,
)
def test_what_only_some_tools_find_in_an_archive_is_inspected_all_the_same(data: bytes, name: str) -> None:
    assert name in names(data, Kind.AMBIGUOUS)
    assert names(data, Kind.MALWARE) == {"eicar"}


def test_an_archive_in_the_comment_of_another_is_found() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"x")
        archive.comment = zipped({"tool.js": EICAR})
    data = file.getvalue()
    assert names(data, Kind.AMBIGUOUS)
    assert names(data, Kind.MALWARE) == {"eicar"}
    assert "tool.js" in members(data)


def test_a_member_that_is_damaged_does_not_hide_those_behind_it() -> None:
    data = bytearray(zipped({"a": b"x" * 9, "b": EICAR}, packed=False))
    data[data.index(b"xxx")] = 0
    assert (names(bytes(data), Kind.AMBIGUOUS), names(bytes(data), Kind.MALWARE)) == ({"archive-damaged"}, {"eicar"})


def test_an_encrypted_member_that_the_directory_leaves_out_is_encrypted() -> None:
    assert "encrypted-archive" in names(locked({"secret": b"x"}) + zipped({"read.txt": b"hello"}), Kind.ENCRYPTED)


def unicode_path(name: str, other: str, text: bytes = b"x") -> bytes:
    """APPNOTE 4.6.9: the field that gives a member a second name."""
    body = struct.pack("<BI", 1, zlib.crc32(name.encode("cp437"))) + other.encode()
    entry = zipfile.ZipInfo(name)
    entry.extra = struct.pack("<HH", 0x7075, len(body)) + body
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(entry, text)
    return file.getvalue()


@pytest.mark.parametrize("other", ["evil.js", "read.txt.js", "map/readme.txt", "readme.tx", "réadme.js"])
def test_a_second_name_in_a_zip_counts_and_is_ambiguous_where_it_says_something_else(other: str) -> None:
    data = unicode_path("readme.txt", other)
    assert names(data, Kind.AMBIGUOUS) == {"archive-name-conflict"}
    assert set(members(data)) == {"readme.txt", other}


@pytest.mark.parametrize(("name", "other"), [("caf_.txt", "café.txt"), ("#U65e5#U672c/a.txt", "日本/a.txt"), ("a.txt", "a.txt")])
def test_a_second_name_that_is_the_same_in_another_charset_is_no_finding(name: str, other: str) -> None:
    data = unicode_path(name, other)
    assert names(data, Kind.AMBIGUOUS) == set()
    assert other in members(data)


def test_a_folder_in_a_zip_that_has_content_is_inspected_and_so_is_a_member_without_a_name() -> None:
    for name in (b"tool.txt/", b"\0ool.txt_"):
        data = zipped({"tool.txt_": EICAR}).replace(b"tool.txt_", name)
        assert names(data, Kind.MALWARE) == {"eicar"}


def test_a_name_that_ends_at_a_nul_for_some_tools_counts_in_full_and_is_ambiguous() -> None:
    data = zipped({"evil.js_.txt": b"x"}).replace(b"evil.js_.txt", b"evil.js\0.txt")
    assert "archive-name-conflict" in names(data, Kind.AMBIGUOUS)
    assert {"evil.js", "evil.js\\u0000.txt"} <= set(members(data))


def test_the_name_inside_a_gzip_file_counts_too() -> None:
    file = io.BytesIO()
    with gzip.GzipFile("invoice.js", "wb", fileobj=file) as stream:
        stream.write(b"x")
    assert members(file.getvalue(), "invoice.txt.gz") == ("invoice.txt", "invoice.js")


def test_the_name_in_the_plain_header_of_a_tar_counts_too() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("evil.js")
        entry.pax_headers = {"path": "readme.txt"}
        archive.addfile(entry)
    assert {"evil.js", "readme.txt"} == set(members(file.getvalue()))


def test_a_tar_whose_headers_disagree_on_a_size_is_ambiguous() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("a.txt")
        entry.size, entry.pax_headers = 512, {"size": "1024"}
        archive.addfile(entry, io.BytesIO(bytes(512)))
        archive.addfile(tarfile.TarInfo("b.js"))
    assert "archive-headers-differ" in names(file.getvalue(), Kind.AMBIGUOUS)


def test_an_archive_that_claims_the_rest_of_itself_many_times_costs_no_more_than_the_limit() -> None:
    header = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, 0xFFFFFFFF, 0, 1, 0) + b"a"
    # Each header stands in a block of deflate that is not compressed, and its own content begins with the next one.
    block = struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF) + header
    engine = Engine([], ArchiveLimits(octets=8 * MEBIBYTE))
    findings = engine.inspect([Item("1", "a", "", False, header + block * 3000)]).findings
    assert "archive-size" in [finding.name for finding in findings]


def test_a_gzip_file_of_very_many_members_costs_no_more_than_its_size() -> None:
    def looked_through(members: int) -> None:
        assert names(gzip.compress(b"x") * members + gzip.compress(EICAR), Kind.MALWARE) == {"eicar"}

    assert in_proportion(looked_through, 100_000, at_most=10)
