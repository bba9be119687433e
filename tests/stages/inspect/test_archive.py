"""Archives: what is in them is inspected, and what can't be looked into, or is made to cost, is undecidable."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile

import pytest

from relay.inspect.archive import ArchiveLimits
from relay.inspect.engine import Engine, Inspected
from relay.inspect.item import Item
from relay.inspect.yara import YaraInspector
from relay.model.finding import UNDECIDABLE, Kind
from tests.servers.clamd import EICAR
from tests.stages.inspect.samples import EXE, PDF, label, locked, seven_zip, sparse_tar, tarred, zipped

MEBIBYTE = 1024 * 1024


def inspected(data: bytes, name: str = "a", limits: ArchiveLimits | None = None) -> Inspected:
    return Engine([YaraInspector()], limits or ArchiveLimits()).inspect([Item("1", name, "", False, data)])


def found(data: bytes, name: str = "a", limits: ArchiveLimits | None = None) -> list[tuple[Kind, str, str]]:
    return [(finding.kind, finding.name, finding.part) for finding in inspected(data, name, limits).findings]


@pytest.mark.parametrize(
    ("data", "name", "path"),
    [
        (zipped({"map/tool.txt": EICAR}), "a.zip", "1/map/tool.txt"),
        (b"#!/bin/sh\nexit\n" + zipped({"tool.txt": EICAR}), "a.sh", "1/tool.txt"),
        (tarred({"tool.txt": EICAR}), "a.tar", "1/tool.txt"),
        (gzip.compress(EICAR), "tool.txt.gz", "1/tool.txt"),
        (gzip.compress(tarred({"tool.txt": EICAR})), "a.tgz", "1/a/tool.txt"),
        (bz2.compress(EICAR), "tool.txt.bz2", "1/tool.txt"),
        (lzma.compress(EICAR), "tool.txt.xz", "1/tool.txt"),
        (zipped({"b.zip": zipped({"c.zip": zipped({"tool.txt": EICAR})})}), "a.zip", "1/b.zip/c.zip/tool.txt"),
        (zipped({"rest.gz": gzip.compress(b"nothing") + gzip.compress(EICAR)}), "a.zip", "1/rest.gz/rest"),
    ],
    ids=label,
)
def test_malware_in_an_archive_is_found_with_its_path(data: bytes, name: str, path: str) -> None:
    assert (Kind.MALWARE, "eicar", path) in found(data, name)


def test_the_names_of_all_members_are_listed_those_of_inner_archives_too() -> None:
    archive = zipped({"brief.txt": b"x", "map/": b"", "inner.zip": zipped({"tool.exe": EXE}), "a\u202efdp.exe": b"y"})
    (attachment,) = inspected(archive).attachments
    assert attachment.members == ("brief.txt", "map/", "inner.zip", "a\\u202efdp.exe", "inner.zip/tool.exe")


def test_a_program_in_an_archive_is_a_finding() -> None:
    assert (Kind.TYPE, "executable", "1/report.pdf") in found(zipped({"report.pdf": EXE}))


def test_what_is_no_archive_is_none() -> None:
    for data in (b"", b"PK", b"tekst", PDF):
        assert found(data) == []
        assert inspected(data).attachments[0].members == ()


@pytest.mark.parametrize(
    ("data", "limits", "name"),
    [
        (zipped({"zeros": bytes(10 * MEBIBYTE)}), ArchiveLimits(), "archive-ratio"),
        (gzip.compress(bytes(10 * MEBIBYTE)), ArchiveLimits(), "archive-ratio"),
        (bz2.compress(bytes(10 * MEBIBYTE)), ArchiveLimits(), "archive-ratio"),
        (lzma.compress(bytes(10 * MEBIBYTE)), ArchiveLimits(), "archive-ratio"),
        (sparse_tar(10 * MEBIBYTE), ArchiveLimits(ratio=100), "archive-ratio"),
        (zipped({f"{number}": b"x" * 2000 for number in range(10)}, packed=False), ArchiveLimits(octets=10_000), "archive-size"),
        (zipped({f"{number}": b"" for number in range(11)}), ArchiveLimits(members=10), "archive-members"),
        (tarred({f"{number}": b"" for number in range(11)}), ArchiveLimits(members=10), "archive-members"),
        (zipped({"a": zipped({"b": zipped({"c": b""})})}), ArchiveLimits(depth=2), "archive-depth"),
    ],
    ids=label,
)
def test_a_bomb_meets_a_limit_by_name(data: bytes, limits: ArchiveLimits, name: str) -> None:
    assert name in [limit for kind, limit, _ in found(data, limits=limits) if kind is Kind.LIMIT]


def test_the_limits_are_for_all_archives_of_a_message_together() -> None:
    engine = Engine([], ArchiveLimits(members=15))
    items = [Item(str(number), "a.zip", "", False, zipped({f"{name}": b"" for name in range(10)})) for number in (1, 2)]
    assert [(finding.name, finding.part) for finding in engine.inspect(items).findings] == [("archive-members", "2")]
    assert engine.inspect(items[:1]).findings == []  # a new message starts anew


def test_what_was_unpacked_before_a_limit_was_met_is_inspected_all_the_same() -> None:
    bomb = zipped({"tool.txt": EICAR, "zeros": bytes(10 * MEBIBYTE)})
    assert {name for _, name, _ in found(bomb)} == {"archive-ratio", "eicar"}


def test_an_encrypted_member_is_of_the_encrypted_class_and_so_is_the_attachment() -> None:
    data = locked({"secret.pdf": PDF})
    assert found(data) == [(Kind.ENCRYPTED, "encrypted-archive", "1")]
    assert inspected(data).attachments[0].encrypted


def test_an_encrypted_archive_inside_another_marks_the_attachment_too() -> None:
    data = zipped({"inner.zip": locked({"secret.pdf": PDF})})
    assert found(data) == [(Kind.ENCRYPTED, "encrypted-archive", "1/inner.zip")]
    assert inspected(data).attachments[0].encrypted


def test_members_beside_an_encrypted_one_are_inspected() -> None:
    both = bytearray(zipped({"open.txt": EICAR, "secret": b"x" * 20}, packed=False))
    both[both.rfind(b"PK\1\2") + 8] |= 1
    assert {name for _, name, _ in found(bytes(both))} >= {"encrypted-archive", "eicar"}


@pytest.mark.parametrize(
    ("data", "kind"),
    [(seven_zip(b"\x03\x01\x01"), "7z"), (b"Rar!\x1a\x07\x01\0" + bytes(100), "rar"), (b"Rar!\x1a\x07\0" + bytes(100), "rar")],
    ids=label,
)
def test_archives_that_are_not_opened_are_undecidable(data: bytes, kind: str) -> None:
    (finding,) = [finding for finding in inspected(data).findings if finding.inspector == "archive"]
    assert (finding.kind, finding.name, finding.detail) == (Kind.LIMIT, "archive-unreadable", kind)


def overlapping() -> bytes:
    """Two entries of the directory for one local file (Fifield 2019)."""
    data = zipped({"a": b"x" * 100}, packed=False)
    start, end = data.find(b"PK\1\2"), data.find(b"PK\5\6")
    entry, tail = data[start:end], bytearray(data[end:])
    tail[8:12] = b"\2\0\2\0"
    tail[12:16] = (2 * len(entry)).to_bytes(4, "little")
    return data[:start] + entry * 2 + bytes(tail)


def two_names() -> bytes:
    """The directory calls a file by another name than the file itself."""
    data = zipped({"harmless": EICAR}, packed=False)
    return data[: data.find(b"PK\1\2")] + data[data.find(b"PK\1\2") :].replace(b"harmless", b"innocent")


def repeated() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"two")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (overlapping(), "archive-overlap"),
        (two_names(), "archive-damaged"),
        (repeated(), "archive-name-repeated"),
        (zipped({"a": b"x" * 5000})[:-30], "archive-damaged"),
        (zipped({"a": b"x"}, packed=False).replace(b"x", b"y", 1).replace(b"PK\3\4", b"PK\3\5", 1), "archive-damaged"),
        (gzip.compress(b"x" * 5000)[:-10], "archive-damaged"),
        (gzip.compress(b"x") + b"trailing", "archive-trailing-data"),
        (lzma.compress(b"x" * 5000)[:-10], "archive-damaged"),
        (tarred({"a": b"x" * 5000})[:2048], "archive-damaged"),
        (tarred({"a": b"x"}) + gzip.compress(b"y"), "archive-trailing-data"),
    ],
    ids=label,
)
def test_an_archive_that_tools_read_differently_is_ambiguous(data: bytes, name: str) -> None:
    assert name in [finding for kind, finding, _ in found(data) if kind in UNDECIDABLE]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_archives_never_bring_an_inspector_down(seed: int) -> None:
    chance = random.Random(seed)
    whole = [zipped({"a": b"x" * 300, "b.zip": zipped({"c": EICAR})}), tarred({"a": EICAR}), gzip.compress(b"x" * 300), seven_zip(b"\0")]
    engine = Engine([], ArchiveLimits(octets=MEBIBYTE, members=100))
    for _ in range(150):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 3, 10))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        engine.inspect([Item("1", "a", "", False, bytes(data[: chance.randrange(len(data) // 2, len(data) + 1)]))])


def test_links_and_devices_in_a_tar_are_listed_and_not_followed() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("device", tarfile.CHRTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    result = inspected(file.getvalue())
    assert result.attachments[0].members == ("link", "hard", "device")
    assert result.findings == []


def test_a_compression_that_is_not_known_is_undecidable() -> None:
    data = bytearray(zipped({"a": b"x"}, packed=False))
    for mark, method in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.find(mark) + method] = 99
    assert [kind for kind, _, _ in found(bytes(data))] == [Kind.AMBIGUOUS]
