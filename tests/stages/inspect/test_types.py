"""The true type against what a part says it is, macros, encrypted documents, and the embedded rules."""

import random
import struct
from pathlib import Path

import magic
import pytest

from relay.inspect.archive import ArchiveLimits
from relay.inspect.engine import Engine
from relay.inspect.filetype import TypeInspector
from relay.inspect.item import Item
from relay.inspect.yara import YaraInspector
from relay.model.errors import ConfigurationError
from relay.model.finding import Finding, Kind
from tests.servers.clamd import EICAR
from tests.stages.inspect.samples import CFB, EXE, PDF, PNG, label, seven_zip, zipped

ENGINE = Engine([YaraInspector()], ArchiveLimits())
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
WORD = {"[Content_Types].xml": b"<Types/>", "_rels/.rels": b"<x/>", "word/document.xml": b"<w:document/>"}


def found(data: bytes, name: str = "", declared: str = "application/octet-stream") -> list[tuple[Kind, str]]:
    return [(finding.kind, finding.name) for finding in ENGINE.inspect([Item("1", name, declared, False, data)]).findings]


@pytest.mark.parametrize(
    ("data", "name", "declared"),
    [
        (PDF, "a.pdf", "application/pdf"),
        (PDF, "a.pdf", "application/octet-stream"),
        (PNG, "a.png", "image/png"),
        (PNG, "a.jpg", "image/jpeg"),  # a picture that is another kind of picture harms nobody
        (b"tekst\r\n", "a.txt", "text/plain"),
        (b"<html><body>x</body></html>", "a.html", "text/html"),
        (b"a;b\r\n1;2\r\n", "a.csv", "text/csv"),
        (b"", "a.pdf", "application/pdf"),
        (zipped(WORD), "a.docx", DOCX),
        (zipped({"a": b"x"}), "a.zip", "application/zip"),
    ],
    ids=label,
)
def test_what_is_what_it_says_has_no_finding(data: bytes, name: str, declared: str) -> None:
    assert found(data, name, declared) == []


@pytest.mark.parametrize(
    ("data", "name", "declared", "findings"),
    [
        (EXE, "a.exe", "application/octet-stream", ["executable"]),
        (EXE, "a.pdf", "application/pdf", ["executable", "extension-mismatch", "type-mismatch"]),
        (EXE, "a.txt", "text/plain", ["executable", "type-mismatch"]),
        (EXE, "", "image/png", ["executable", "type-mismatch"]),
        (zipped({"a": b"x"}), "a.pdf", "application/pdf", ["extension-mismatch", "type-mismatch"]),
        (PDF, "a.png", "application/octet-stream", ["extension-mismatch"]),
        (PDF, "a.docx", "application/octet-stream", ["extension-mismatch"]),
        (b"#!/bin/sh\nrm -r /\n", "a.txt", "text/plain", ["executable"]),
        (b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\x3e\0\1\0\0\0" + bytes(40), "a", "application/octet-stream", ["executable"]),
        (b"x", "report\u202efdp.exe", "application/octet-stream", ["deceptive-name"]),
    ],
    ids=label,
)
def test_what_is_something_else_is_a_type_finding(data: bytes, name: str, declared: str, findings: list[str]) -> None:
    assert found(data, name, declared) == [(Kind.TYPE, finding) for finding in findings]


def test_a_macro_in_either_kind_of_office_document_is_a_finding() -> None:
    assert (Kind.TYPE, "macro") in found(zipped({**WORD, "word/vbaProject.bin": b"x"}), "a.docm")
    assert (Kind.TYPE, "macro") in found(CFB + bytes(600) + "_VBA_PROJECT".encode("utf-16-le") + bytes(600), "a.doc")
    assert (Kind.TYPE, "macro") in found(zipped({**WORD, "xl/macrosheets/sheet1.xml": b"x"}), "a.xlsx")
    assert (Kind.TYPE, "macro") in found(zipped({**WORD, "xl/macrosheets/sheet1.bin": b"x"}), "a.xlsb")


def bound_sheet(kind: int, name: bytes = b"Macro1", hidden: int = 0, wide: bool = False) -> bytes:
    """A BoundSheet8 ([MS-XLS] §2.4.28)."""
    text = name.decode().encode("utf-16-le") if wide else name
    record = struct.pack("<IBBBB", 4711, hidden, kind, len(name), wide) + text
    return struct.pack("<HH", 0x85, len(record)) + record


def test_sheets_of_excel_4_macros_are_found_by_their_type_however_they_are_hidden() -> None:
    for hidden in (0, 1, 2):
        for wide in (False, True):
            assert (Kind.TYPE, "macro") in found(CFB + bytes(600) + bound_sheet(1, hidden=hidden, wide=wide) + bytes(600), "a.xls")
    begin = struct.pack("<HHHH", 0x809, 16, 0x600, 0x40) + bytes(12)
    assert (Kind.TYPE, "macro") in found(CFB + bytes(600) + begin, "a.xls")
    assert (Kind.TYPE, "macro") in found(struct.pack("<HHHH", 0x409, 6, 0, 0x40) + bytes(30), "a.xlm")
    for other in (0, 2, 6):  # a worksheet, a chart, a module
        assert (Kind.TYPE, "macro") not in found(CFB + bytes(600) + bound_sheet(other) + bytes(600), "a.xls")
    longer = bound_sheet(1) + b"and something else"
    assert (Kind.TYPE, "macro") not in found(CFB + bytes(600) + longer[:2] + b"\x11" + longer[3:] + bytes(600), "a.xls"), "no such record"


def der(content: bytes) -> bytes:
    return b"\x30\x80\x06" + bytes([len(content)]) + content + b"\xa0\x80" + bytes(40)


@pytest.mark.parametrize(
    ("data", "declared", "name"),
    [
        (PDF.replace(b"/Root", b"/Encrypt 5 0 R /Root"), "application/pdf", "encrypted-pdf"),
        (PDF.replace(b"/Root", b"/Encrypt<</V 4>>/Root"), "application/pdf", "encrypted-pdf"),
        (CFB + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(600), DOCX, "encrypted-office"),
        (seven_zip(b"\x06\xf1\x07\x01"), "application/octet-stream", "encrypted-7z"),
        (b"-----BEGIN PGP MESSAGE-----\r\n\r\nwcBM\r\n", "text/plain", "encrypted-pgp"),
        (b"Version: 1\r\n", "application/pgp-encrypted", "encrypted-pgp"),
        (der(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"), "application/pkcs7-mime", "encrypted-smime"),
        (der(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17"), "application/x-pkcs7-mime", "encrypted-smime"),
    ],
    ids=label,
)
def test_what_nobody_can_look_into_is_of_the_encrypted_class(data: bytes, declared: str, name: str) -> None:
    result = ENGINE.inspect([Item("1", "a", declared, False, data)])
    assert Finding(Kind.ENCRYPTED, "encrypted", name, "1") in result.findings
    assert result.attachments[0].encrypted


def test_a_signed_message_is_not_encrypted() -> None:
    assert found(der(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"), "smime.p7m", "application/pkcs7-mime") == []
    assert found(b"-----BEGIN PGP SIGNATURE-----\r\n", "signature.asc", "application/pgp-signature") == []


@pytest.mark.parametrize(
    ("data", "kind", "rule"),
    [
        (EICAR, Kind.MALWARE, "eicar"),
        (b"x SLUIS-TEST-SIGNATURE-0123456789abcdef-MALWARE x", Kind.MALWARE, "sluis-test"),
        (b"Sub AutoOpen()\n... VBA", Kind.RULE, "office-macro-auto"),
        (PDF.replace(b"/Type", b"/JavaScript (x) /Type"), Kind.RULE, "pdf-javascript"),
        (b"x" * 1000 + PDF.replace(b"/Type", b"/#4a#53 (x) /Type"), Kind.RULE, "pdf-javascript"),
        (PDF.replace(b"/Type", b"/La#75nch<<>> /Type"), Kind.RULE, "pdf-javascript"),
        (b"<script>b = new Blob([atob(x)]); a.href = URL.createObjectURL(b)</script>", Kind.RULE, "html-smuggling"),
        (b"\x4c\0\0\0\x01\x14\x02\0" + bytes(60), Kind.RULE, "shortcut-file"),
        (bytes.fromhex("e4525c7b") + bytes(20) + bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac"), Kind.RULE, "onenote-embedded-file"),
    ],
    ids=label,
)
def test_each_embedded_rule_finds_what_it_is_for(data: bytes, kind: Kind, rule: str) -> None:
    assert (kind, rule) in found(data)


def test_the_embedded_rules_find_nothing_in_plain_mail() -> None:
    assert found(b"Beste Piet,\r\n\r\nDe VBA-cursus begint om negen uur. SLUIS-TEST-SIGNATURE\r\n", "", "text/plain") == []


def test_rules_of_a_folder_are_used_beside_the_embedded_ones(tmp_path: Path) -> None:
    (tmp_path / "ours.yar").write_text('rule our_own { meta: kind = "malware" strings: $a = "forbidden" condition: $a }', encoding="utf-8")
    scanner = YaraInspector(tmp_path)
    (ours,) = scanner.inspect(Item("2", "", "", True, b"a forbidden word"))
    assert ours == Finding(Kind.MALWARE, "yara", "our-own", "2")
    assert [finding.name for finding in scanner.inspect(Item("1", "", "", True, EICAR))] == ["eicar"]


@pytest.mark.parametrize("text", ["rule x {", "rule x { condition: nothing }", "\udcff"])
def test_a_rule_that_does_not_compile_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yar").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError, match=r"bad\.yar"):
        YaraInspector(tmp_path)


def test_a_rule_with_the_name_of_one_that_ships_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ours.yar").write_text("rule eicar { condition: false }", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="eicar is the name of a rule that ships"):
        YaraInspector(tmp_path)


def test_what_was_dug_out_of_an_ambiguous_message_is_scanned_and_has_no_type_finding() -> None:
    assert found(EXE + EICAR, "", "") == [(Kind.MALWARE, "eicar")]


def in_two_looks(data: bytes) -> str:
    """All but text in the first 64 KiB; where that says nothing, everything in the first KiB."""
    binary, everything = magic.Magic(mime=True), magic.Magic(mime=True)
    magic.magic_setflags(binary.cookie, binary.flags | 0x020000)  # MAGIC_NO_CHECK_TEXT
    found = binary.from_buffer(data[:65536])
    return str(found if found != "application/octet-stream" else everything.from_buffer(data[:1024]))


def test_the_type_is_that_of_both_looks_also_where_one_look_is_enough() -> None:
    noise = random.Random(3).randbytes(3000)
    script = b"#!/bin/sh\nrm -r /\n"
    samples = [b"x", script, script + bytes(3000), b"a letter\r\n" + bytes(3000), script + noise, script.decode().encode("cp037")]
    samples += ["een brief\r\n".encode(charset) * 200 for charset in ("utf-8", "utf-16-le", "utf-16", "utf-32", "cp037", "utf-7")]
    samples += [noise, noise[:100], bytes(3000), noise[:600] + bytes(900), b"text\r\n" * 300 + noise, noise + b"text\r\n" * 300]
    samples += [sample[:17] + noise[:2000] for sample in (EXE, PDF, PNG, CFB, zipped({"a": b"x"}))]
    types = TypeInspector()
    for sample in samples:
        assert types.true_type(sample) == in_two_looks(sample), sample[:20]


def test_a_program_with_the_sign_of_something_without_a_media_type_behind_its_first_lines_stays_a_program() -> None:
    """What libmagic knows and has no type for ends its search: here a volume of Linux, told by eight octets at 1048."""
    program = EXE[:64] + random.Random(1).randbytes(2000)
    hidden = program[:1048] + b"LVM2 001" + program[1056:]
    for data in (program, hidden):
        assert (Kind.TYPE, "executable") in found(data, "a.bin")
