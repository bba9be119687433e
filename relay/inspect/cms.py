"""Cryptographic Message Syntax (RFC 5652), as far as to tell what is encrypted and to take out what is only signed or compressed. What it
is called does not count: S/MIME files come as octet streams, too.
"""

import binascii
import re
import zlib
from dataclasses import dataclass

from relay.inspect.opening import Budget, Opened
from relay.inspect.stream import Stream

_SEQUENCE, _OID, _OCTETS, _OCTETS_IN_PARTS, _EXPLICIT = 0x30, 0x06, 0x04, 0x24, 0xA0
_PKCS7 = bytes.fromhex("2a864886f70d0107")  # 1.2.840.113549.1.7
_SMIME_CONTENT = bytes.fromhex("2a864886f70d01091001")  # 1.2.840.113549.1.9.16.1
# enveloped, signed and enveloped (PKCS #7), encrypted, authEnveloped (RFC 5083)
_ENCRYPTED = (_PKCS7 + b"\3", _PKCS7 + b"\4", _PKCS7 + b"\6", _SMIME_CONTENT + b"\x17")
_SIGNED, _DIGESTED, _COMPRESSED = _PKCS7 + b"\2", _PKCS7 + b"\5", _SMIME_CONTENT + b"\x09"  # the last: RFC 3274
PEM_BEGIN = b"-----BEGIN "
_PEM = re.compile(PEM_BEGIN + rb"(?:PKCS7|PKCS #7 SIGNED DATA|CMS)-----\s+([A-Za-z0-9+/=\s]+)")
_DEEPEST = 16
_ENDINGS = (".p7m", ".p7s", ".p7z", ".p7c")


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    start: int
    end: int | None  # None: of indefinite length (X.690 §8.1.3.6)


def cms_type(data: bytes, pem: bool = True) -> bytes | None:
    """The object identifier of the content type, None for what is no CMS. In PEM as well (RFC 7468 §8, §9), where there may be
    any."""
    data = _binary(data) if pem else data
    try:
        outer = _element(data, 0)
        inner = _element(data, outer.start)
    except ValueError:
        return None
    if outer.tag != _SEQUENCE or inner.tag != _OID or inner.end is None:
        return None
    found = data[inner.start : inner.end]
    return found if found.startswith((_PKCS7, _SMIME_CONTENT)) else None


def is_encrypted(data: bytes, pem: bool = True) -> bool:
    """Enveloped or encrypted, to whomever."""
    return cms_type(data, pem) in _ENCRYPTED


def is_container(data: bytes, pem: bool = True) -> bool:
    """Signed, digested or compressed: content is in it, or beside it."""
    return cms_type(data, pem) in (_SIGNED, _DIGESTED, _COMPRESSED)


def read_cms(opened: Opened, budget: Budget) -> None:
    """Takes the content out; a signature beside its content and a list of certificates have none. Raises LimitMet."""
    data = _binary(opened.item.data)
    kind = cms_type(data)
    try:
        content = _content(data)
        if content is None:
            return
        budget.member()
        if kind == _COMPRESSED:
            content = budget.read(Stream(zlib.decompressobj(), content, 0, len(content)), max(len(content), 1))
        else:
            budget.take(len(content))
    except (ValueError, zlib.error, EOFError) as error:
        opened.ambiguous("archive-damaged", type(error).__name__)
        return
    name = opened.item.name
    opened.add(name[:-4] if name.lower().endswith(_ENDINGS) else name or "content", content)


def _content(data: bytes) -> bytes | None:
    """ContentInfo, explicit [0], then version, algorithms, EncapsulatedContentInfo: object identifier, explicit [0]."""
    outer = _element(data, 0)
    explicit = _children(data, outer)[1:2]
    if not explicit or explicit[0].tag != _EXPLICIT:
        return None
    inner = _children(data, explicit[0])
    fields = _children(data, inner[0]) if inner else []
    if len(fields) < 3:
        if inner:
            raise ValueError("fields are missing")
        return None
    encapsulated = _children(data, fields[2])
    if len(encapsulated) < 2:
        return None
    pieces: list[bytes] = []
    for element in _children(data, encapsulated[1]):
        _octets(data, element, 0, pieces)
    return b"".join(pieces)


def _octets(data: bytes, element: _Element, depth: int, pieces: list[bytes]) -> None:
    """An octet string, perhaps in parts; what is none, as it stands."""
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if element.tag == _OCTETS_IN_PARTS:
        for child in _children(data, element, len(data)):
            _octets(data, child, depth + 1, pieces)
    else:
        pieces.append(data[element.start : _end(data, element)])


def _element(data: bytes, position: int) -> _Element:
    if position + 2 > len(data) or data[position] & 0x1F == 0x1F:  # no tag of CMS is that large
        raise ValueError("no element")
    size = data[position + 1]
    start = position + 2
    if size == 0x80:
        return _Element(data[position], start, None)
    if size > 0x80:
        start += size & 0x7F
        if size > 0x88 or start > len(data):
            raise ValueError("no length")
        size = int.from_bytes(data[position + 2 : start], "big")
    return _Element(data[position], start, start + size)


def _children(data: bytes, parent: _Element, most: int = 1000) -> list[_Element]:
    """CMS needs few, but for the parts of a long octet string. Raises ValueError where there are more: nothing is left out unsaid."""
    found: list[_Element] = []
    position, end = parent.start, parent.end
    while position < end if end is not None else data[position : position + 2] != b"\0\0":
        if len(found) >= most:
            raise ValueError("too many elements")
        child = _element(data, position)
        found.append(child)
        position = _after(data, child, 0)
    return found


def _end(data: bytes, element: _Element) -> int:
    return element.end if element.end is not None else _after(data, element, 0) - 2


def _after(data: bytes, element: _Element, depth: int) -> int:
    if element.end is not None:
        return element.end
    if depth > _DEEPEST:
        raise ValueError("too deep")
    position = element.start
    while data[position : position + 2] != b"\0\0":
        position = _after(data, _element(data, position), depth + 1)
    return position + 2


def _binary(data: bytes) -> bytes:
    """Out of PEM, where it begins in the first 64 KiB."""
    found = _PEM.search(data) if PEM_BEGIN in data[: 64 * 1024] else None
    if found is None:
        return data
    try:
        return binascii.a2b_base64(found[1])
    except binascii.Error:
        return data
