"""Content that nobody can look into without a key: a class of its own, and never clean."""

import re

from relay.inspect.item import Item
from relay.model.finding import Finding, Kind

NAME = "encrypted"
_CFB = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_7Z = b"7z\xbc\xaf\x27\x1c"
_7Z_AES = b"\x06\xf1\x07\x01"  # the coder 7zAES in the header at the end (7zFormat.txt, Methods.txt)
_PDF_ENCRYPT = re.compile(rb"/Encrypt[\s<\d]")


def encrypted(item: Item) -> list[Finding]:
    """Encrypted PDF, Office, PGP, S/MIME and 7z; zip archives say it of themselves."""
    found = _class(item)
    return [Finding(Kind.ENCRYPTED, NAME, found, item.path)] if found else []


def _class(item: Item) -> str | None:
    data = item.data
    if data[:5] == b"%PDF-" and _PDF_ENCRYPT.search(data):
        return "encrypted-pdf"
    if data[:8] == _CFB and "EncryptedPackage".encode("utf-16-le") in data:  # [MS-OFFCRYPTO] §2.3.4
        return "encrypted-office"
    if data[:6] == _7Z and _7Z_AES in data[32 + int.from_bytes(data[12:20], "little") :]:
        return "encrypted-7z"
    if item.declared == "application/pgp-encrypted" or b"-----BEGIN PGP MESSAGE-----" in data[:4096]:
        return "encrypted-pgp"
    if item.declared in ("application/pkcs7-mime", "application/x-pkcs7-mime") and not item.name.lower().endswith(".p7c"):
        # enveloped-data 1.2.840.113549.1.7.3, authEnveloped 1.2.840.113549.1.9.16.1.23 (RFC 8551 §3.5): DER object identifiers
        if b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03" in data[:64] or b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17" in data[:64]:
            return "encrypted-smime"
        return None
    return None


def macro(item: Item, members: tuple[str, ...]) -> list[Finding]:
    """Office documents with macros: vbaProject.bin in a zip, a VBA storage in a compound file ([MS-OVBA] §2.2.1)."""
    in_zip = any(name.lower().endswith("vbaproject.bin") for name in members)
    in_cfb = item.data[:8] == _CFB and "_VBA_PROJECT".encode("utf-16-le") in item.data
    return [Finding(Kind.TYPE, "type", "macro", item.path)] if in_zip or in_cfb else []
