"""Content that nobody can look into without a key: a class of its own, and never clean. By the content, wherever in it the signs stand."""

import re

from relay.inspect import cms, openpgp
from relay.inspect.item import Item, Sign
from relay.inspect.macro_sheet import has_macro_sheet, is_macro_sheet
from relay.inspect.unreadable import CFB
from relay.model.finding import Finding, Kind

NAME = "encrypted"
_7Z = b"7z\xbc\xaf\x27\x1c"
_7Z_AES = b"\x06\xf1\x07\x01"  # the coder 7zAES in the header at the end (7zFormat.txt, Methods.txt)
_PDF_MAY_BEGIN = 1024  # octets of anything in front, which viewers skip (ISO 32000-1 annex H.3, implementation note 13)
# The key in the trailer, each letter perhaps as #xx (ISO 32000-1 §7.3.5), and what may end a name
_PDF_ENCRYPT = re.compile(b"/" + b"".join(b"(?:%c|#(?i:%02x))" % (char, char) for char in b"Encrypt") + rb"[\s\0<(\[%/\d]")
_EXCEL = re.compile(rb"\x09\x08\x10\0.{16}(?:\x86\0\0\0)?\x2f\0", re.DOTALL)  # BOF, FilePass ([MS-XLS] §2.4.21, §2.4.117)
_WORD = re.compile(rb"\xec\xa5[\xc0-\xc2]\0.{7}(.)", re.DOTALL)  # FibBase ([MS-DOC] §2.5.2), to the octet that has fEncrypted as bit 0
_SECTOR = 512
_OFFICE_STREAMS = tuple(name.encode("utf-16-le") for name in ("EncryptedPackage", "EncryptedSummary"))  # [MS-OFFCRYPTO] §2.3.4, §2.3.5.4
_MANIFEST = "meta-inf/manifest.xml"  # of an OpenDocument package (part 2 §3.4.1)
_PKCS7_DECLARED = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_ENVELOPED = (b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17")


def encrypted(item: Item) -> list[Finding]:
    """Encrypted PDF, Office, OpenDocument, PGP, S/MIME and 7z; zip archives say it of themselves."""
    found = _class(item)
    return [Finding(Kind.ENCRYPTED, NAME, found, item.path)] if found else []


def _class(item: Item) -> str | None:
    data = item.data
    if _is_pdf(item) and _PDF_ENCRYPT.search(data):
        return "encrypted-pdf"
    if data[:8] == CFB and _encrypted_office(data):
        return "encrypted-office"
    if item.path.lower().endswith(_MANIFEST) and b"encryption-data" in data.replace(b"\0", b""):
        return "encrypted-odf"
    if data[:6] == _7Z and _7Z_AES in data[32 + int.from_bytes(data[12:20], "little") :]:
        return "encrypted-7z"
    if item.declared == "application/pgp-encrypted" or openpgp.is_encrypted(data, Sign.ARMOUR in item.signs):
        return "encrypted-pgp"
    # Declared as what it is, it need not be as well-formed.
    if cms.is_encrypted(data, Sign.PEM in item.signs) or (
        item.declared in _PKCS7_DECLARED and any(mark in data[:64] for mark in _ENVELOPED)
    ):
        return "encrypted-smime"
    return None


def _is_pdf(item: Item) -> bool:
    """As soon as anything would open it as one."""
    called = item.declared == "application/pdf" or item.name.lower().endswith(".pdf") or item.true_type == "application/pdf"
    return called or b"%PDF-" in item.data[: _PDF_MAY_BEGIN + 5]


def _encrypted_office(data: bytes) -> bool:
    if any(name in data for name in _OFFICE_STREAMS) or _EXCEL.search(data):
        return True
    return any(found.start() % _SECTOR == 0 and found[1][0] & 1 for found in _WORD.finditer(data))


def macro(item: Item, members: tuple[str, ...]) -> list[Finding]:
    """Office documents with macros: vbaProject.bin in a zip, a VBA storage in a compound file ([MS-OVBA] §2.2.1), and sheets of Excel 4
    macros, which need no VBA: a part under macrosheets in a zip, a sheet of that type in a workbook."""
    in_zip = any(name.lower().endswith("vbaproject.bin") or "macrosheets/" in name.lower().replace("\\", "/") for name in members)
    in_cfb = item.data[:8] == CFB and ("_VBA_PROJECT".encode("utf-16-le") in item.data or has_macro_sheet(item.data))
    return [Finding(Kind.TYPE, "type", "macro", item.path)] if in_zip or in_cfb or is_macro_sheet(item.data) else []
