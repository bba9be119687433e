"""What nobody can look into is told by its content: what it is called, and what stands in front of it, changes nothing."""

import base64
import bz2
import zlib

import pytest

from relay.inspect.archive import ArchiveLimits
from relay.inspect.engine import Engine
from relay.inspect.item import Item
from relay.inspect.yara import YaraInspector
from relay.model.finding import Kind
from tests.servers.clamd import EICAR
from tests.stages.inspect.samples import CFB, PDF, label, zipped

ENGINE = Engine([YaraInspector()], ArchiveLimits())
ENVELOPED, SIGNED = bytes.fromhex("2a864886f70d010703"), bytes.fromhex("2a864886f70d010702")
AUTH_ENVELOPED, COMPRESSED = bytes.fromhex("2a864886f70d0109100117"), bytes.fromhex("2a864886f70d0109100109")
DATA = bytes.fromhex("06092a864886f70d010701")
ARMOUR = b"-----BEGIN PGP MESSAGE-----\r\n\r\nwcBMA\r\n-----END PGP MESSAGE-----\r\n"


def found(data: bytes, name: str = "a.bin", declared: str = "application/octet-stream") -> list[tuple[Kind, str]]:
    return [(finding.kind, finding.name) for finding in ENGINE.inspect([Item("1", name, declared, False, data)]).findings]


def der(tag: int, *parts: bytes) -> bytes:
    """An element of definite length."""
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def ber(tag: int, *parts: bytes) -> bytes:
    """An element of indefinite length."""
    return bytes([tag, 0x80]) + b"".join(parts) + b"\0\0"


def cms(kind: bytes, content: bytes) -> bytes:
    """ContentInfo with what it has in common for all kinds that hold content."""
    algorithms = der(0x31 if kind == SIGNED else 0x30)
    inner = der(0x30, DATA, der(0xA0, content))
    return der(0x30, der(0x06, kind), der(0xA0, der(0x30, b"\2\1\1", algorithms, inner)))


def packet(tag: int, body: bytes) -> bytes:
    """RFC 9580 §4.2.1: a new header, of one octet for its length."""
    return bytes([0xC0 | tag, len(body)]) + body


SESSION_KEY = packet(1, b"\3" + bytes(8) + b"\1" + bytes(20))
PASSPHRASE = packet(3, b"\4\x09\3\2" + bytes(8) + b"\x60")
PROTECTED = packet(18, b"\1" + bytes(40))
OLD_SESSION_KEY = b"\x85\0\x1e\3" + bytes(8) + b"\1" + bytes(20)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (PDF.replace(b"/Root", b"/#45ncrypt 5 0 R /Root"), "encrypted-pdf"),
        (PDF.replace(b"/Root", b"/E#6Ec#72ypt 5 0 R /Root"), "encrypted-pdf"),
        (PDF.replace(b"/Root", b"/Encrypt%x\n5 0 R /Root"), "encrypted-pdf"),
        (PDF.replace(b"/Root", b"/Encrypt\0005 0 R /Root"), "encrypted-pdf"),
        (b"\n" + PDF.replace(b"/Root", b"/Encrypt 5 0 R /Root"), "encrypted-pdf"),
        (b"x" * 1000 + PDF.replace(b"/Root", b"/Encrypt 5 0 R /Root"), "encrypted-pdf"),
        (zipped({"META-INF/manifest.xml": b"<manifest:encryption-data manifest:checksum-type='x'>"}), "encrypted-odf"),
        (zipped({"META-INF/manifest.xml": "<manifest:encryption-data>".encode("utf-16")}), "encrypted-odf"),
        (b"tekst\r\n" * 2000 + ARMOUR, "encrypted-pgp"),
        (b"> " + ARMOUR.replace(b"\r\n", b"\r\n> "), "encrypted-pgp"),
        (b"<html><p>" + ARMOUR.replace(b"\r\n", b"<br>") + b"</html>", "encrypted-pgp"),
        (ARMOUR.decode().encode("utf-16"), "encrypted-pgp"),
        (ARMOUR.replace(b"MESSAGE-", b"MESSAGE, PART 1/2-"), "encrypted-pgp"),
        (SESSION_KEY + PROTECTED, "encrypted-pgp"),
        (OLD_SESSION_KEY + PROTECTED, "encrypted-pgp"),
        (SESSION_KEY * 3000 + PROTECTED, "encrypted-pgp"),
        (SESSION_KEY * 3 + packet(9, bytes(40)), "encrypted-pgp"),
        (packet(10, b"PGP") + PASSPHRASE + packet(20, b"\1" + bytes(40)), "encrypted-pgp"),
        (PASSPHRASE + b"\xd2\xea\1" + bytes(1100), "encrypted-pgp"),
        (der(0x30, der(0x06, ENVELOPED), der(0xA0, bytes(200))), "encrypted-smime"),
        (ber(0x30, der(0x06, ENVELOPED), ber(0xA0)), "encrypted-smime"),
        (ber(0x30, der(0x06, AUTH_ENVELOPED), ber(0xA0)), "encrypted-smime"),
        (
            b"-----BEGIN PKCS7-----\n" + base64.encodebytes(ber(0x30, der(0x06, ENVELOPED), ber(0xA0))) + b"-----END PKCS7-----\n",
            "encrypted-smime",
        ),
        (CFB + bytes(600) + "EncryptedSummary".encode("utf-16-le") + bytes(600), "encrypted-office"),
        (CFB + bytes(504) + b"\x09\x08\x10\0" + bytes(16) + b"\x2f\0\x36\0" + bytes(100), "encrypted-office"),
        (CFB + bytes(504) + b"\xec\xa5\xc1\0" + bytes(7) + b"\x13" + bytes(100), "encrypted-office"),
    ],
    ids=label,
)
@pytest.mark.parametrize("called", ["a.bin", "a.p7c"])
def test_encrypted_content_is_of_the_encrypted_class_whatever_it_is_called(data: bytes, name: str, called: str) -> None:
    assert (Kind.ENCRYPTED, name) in found(data, called)


@pytest.mark.parametrize(
    "data",
    [
        b'if b"-----BEGIN PGP MESSAGE-----" in data:\r\n',
        b"The line -----BEGIN PGP MESSAGE----- is how armour begins.\r\n",
        b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nx\r\n-----BEGIN PGP SIGNATURE-----\r\n",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n",
        packet(6, b"\4" + bytes(60)) + packet(13, b"Piet"),
        "ҒҒҒ".encode(),
        "ÅÅÅ ÁÁÁ".encode("latin-1"),
        "日本語のテキスト".encode("shift-jis"),
        zipped({"META-INF/manifest.xml": b"<manifest:file-entry/>", "content.xml": b"encryption-data"}),
        PDF + b"/EncryptMetadata true",
        b"%PDFs may have an /Encrypt entry.",
        CFB + bytes(504) + b"\xec\xa5\xc1\0" + bytes(7) + b"\x12" + bytes(100),
        der(0x30, b"\2\1\3", der(0x30, DATA)),
        der(0x30, der(0x06, SIGNED), der(0xA0, der(0x30, b"\2\1\1", der(0x31), der(0x30, DATA), der(0xA0)))),
    ],
    ids=label,
)
def test_content_that_only_looks_like_it_is_not(data: bytes) -> None:
    assert found(data) == []


@pytest.mark.parametrize(
    "data",
    [
        cms(SIGNED, der(0x04, EICAR)),
        cms(SIGNED, ber(0x24, der(0x04, EICAR[:30]), der(0x04, EICAR[30:]))),
        cms(SIGNED, ber(0x24, *[der(0x04, b"")] * 1500, der(0x04, EICAR))),
        cms(COMPRESSED, der(0x04, zlib.compress(EICAR))),
        cms(COMPRESSED, der(0x04, zlib.compress(zipped({"a": EICAR})))),
    ],
    ids=("signed", "signed in parts", "signed in many parts", "compressed", "compressed zip"),
)
def test_content_inside_a_signature_is_taken_out_and_inspected(data: bytes) -> None:
    assert (Kind.MALWARE, "eicar") in found(data, "contract.txt.p7m")
    armoured = b"-----BEGIN CMS-----\r\n" + base64.encodebytes(data) + b"-----END CMS-----\r\n"
    assert (Kind.MALWARE, "eicar") in found(armoured, "contract.pem")


@pytest.mark.parametrize("data", [cms(COMPRESSED, der(0x04, b"no zlib")), cms(SIGNED, der(0x04, b"x"))[:20]], ids=label)
def test_a_signature_that_is_damaged_is_ambiguous(data: bytes) -> None:
    assert found(data) == [(Kind.AMBIGUOUS, "archive-damaged")]


def test_a_signed_file_that_openpgp_packed_is_not_opened() -> None:
    for packed in (b"\1" + zlib.compress(b"\x90\x0d", wbits=-15), b"\2" + zlib.compress(b"\x90\x0d"), b"\3" + bz2.compress(b"\x90\x0d")):
        assert found(b"\xa3" + packed) == [(Kind.LIMIT, "archive-unreadable")]
    assert found(b"\xa3\1tekst") == []
