"""Reads DKIM-Signature fields and computes what they must have signed, in a worker without network. The only place of authentication that
knows dkimpy.

dkimpy reads and checks the field, makes the header canonical and hashes it. Three things are done here instead: the body (dkimpy needs
five seconds for 40 KB of blanks; its relaxed hash is known already), the public key operation (`relay.authenticate.key`: dkimpy has Ed25519
only with one more package), and limits, since some of its expressions are quadratic in what a sender writes.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cached_property

import dkim
from dkim.canonicalization import CanonicalizationPolicy, InvalidCanonicalizationPolicyError
from dkim.util import InvalidTagValueList, parse_tag_value

from relay.model.address import domain_key
from relay.model.authentication import MOST_SIGNATURES, Result, Signature

MAX_FIELD = 4096  # octets of one: with twenty names and RSA-4096 it has 1,500
MAX_FOLDS = 64  # lines of one
MAX_NAMES = 256  # in `h=`
MAX_HEADER = 1024 * 1024  # octets: four times what inspection lets pass by default (settings: inspection.header_size)
MAX_FIELDS = 2000  # of the header, and more are no mail
PIECE = 65_536
ALGORITHMS = (b"rsa-sha256", b"ed25519-sha256")
"""RFC 8301 §3.1: a signature with SHA-1 is never found good. RFC 8463 §3."""
_NAME = re.compile(rb"[!-9;-~]+:")  # RFC 5322 §3.6.8; a blank before the colon is read in two ways
_NEXT = re.compile(rb"\r\n(?![ \t])")
_DOMAIN = re.compile(rb"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")

Fields = list[tuple[bytes, bytes]]
"""Name and everything after the colon, folds and CRLF included."""


def signatures(data: bytes, body_hash: str) -> tuple[Signature, ...]:
    """Of the first MOST_SIGNATURES fields of a message with CRLF line ends. `body_hash` is the SHA-256 (Base64) of its relaxed body."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEADER)
    header = data[: end if end >= 0 else MAX_HEADER]
    if b"\ndkim-signature" not in b"\n" + header.lower():
        return ()
    fields = _fields(header)
    if fields is None:
        return (_unusable(),)
    wanted = [index for index, (name, _) in enumerate(fields) if name.lower() == b"dkim-signature"]
    message = _Message(data, min(end + 4, len(data)) if end >= 0 else len(data), body_hash)
    return tuple(_signature(fields, index, message) for index in wanted[:MOST_SIGNATURES])


class _Message:
    """`start` is where its body begins. The octets are not copied: a worker has room for little more than one message."""

    def __init__(self, data: bytes, start: int, body_hash: str) -> None:
        self._data = data
        self._start = start
        self.relaxed = body_hash

    @cached_property
    def simple(self) -> str:
        """RFC 6376 §3.4.3: no empty lines at the end, and a CRLF there in any case."""
        stop = len(self._data)
        while stop > self._start:
            piece = self._data[max(self._start, stop - PIECE) : stop]
            kept = len(piece.rstrip(b"\r\n"))
            stop -= len(piece) - kept
            if kept:
                break
        hasher = hashlib.sha256(memoryview(self._data)[self._start : stop])
        hasher.update(b"\r\n")
        return base64.b64encode(hasher.digest()).decode("ascii")


def _fields(header: bytes) -> Fields | None:
    """None where it can't be told apart into fields, or has too many of them: no signature says anything then."""
    raw = _NEXT.split(header)
    if len(raw) > MAX_FIELDS:
        return None
    found = []
    for field in raw:
        name = _NAME.match(field)
        if name is None:
            return None
        found.append((field[: name.end() - 1], field[name.end() :] + b"\r\n"))
    return found


def _unusable(domain: str = "", selector: str = "") -> Signature:
    return Signature(domain, selector, known=Result.PERMERROR)


def _signature(fields: Fields, index: int, message: _Message) -> Signature:
    value = fields[index][1]
    if len(value) > MAX_FIELD or value.count(b"\r\n") > MAX_FOLDS:
        return _unusable()
    try:
        tags: dict[bytes, bytes] = parse_tag_value(value)
        dkim.validate_signature_fields(tags)
        how = CanonicalizationPolicy.from_c_value(re.sub(rb"\s", b"", tags.get(b"c", b"simple/simple")))
    except (dkim.DKIMException, InvalidTagValueList, InvalidCanonicalizationPolicyError, ValueError, IndexError):
        return _unusable()
    if not _DOMAIN.fullmatch(tags[b"d"]) or not _DOMAIN.fullmatch(tags[b"s"]):
        return _unusable()
    domain, selector = domain_key(tags[b"d"].decode("ascii")), domain_key(tags[b"s"].decode("ascii"))
    names = [name.lower() for name in re.split(rb"\s*:\s*", tags[b"h"])]
    # RFC 6376 §5.4: without From it says nothing of who wrote.
    if tags[b"a"] not in ALGORITHMS or b"from" not in names or len(names) > MAX_NAMES:
        return _unusable(domain, selector)
    if b"l" in tags:  # RFC 6376 §8.2: anybody may add to such a body
        return Signature(domain, selector, known=Result.POLICY)
    hashed = message.relaxed if how.body_algorithm.name == b"relaxed" else message.simple
    if re.sub(rb"\s", b"", tags[b"bh"]) != hashed.encode("ascii"):
        return Signature(domain, selector, known=Result.FAIL)
    return Signature(
        domain,
        selector,
        algorithm=tags[b"a"].decode("ascii"),
        identity=_identity(tags, domain),
        digest=_digest(fields, index, names, how, tags),
        value=re.sub(rb"\s", b"", tags[b"b"]).decode("ascii"),
    )


def _identity(tags: dict[bytes, bytes], domain: str) -> str:
    if b"i" not in tags:
        return domain
    return domain_key(tags[b"i"].rpartition(b"@")[2].decode("ascii", "replace"))


def _digest(fields: Fields, index: int, names: Sequence[bytes], how: CanonicalizationPolicy, tags: dict[bytes, bytes]) -> str:
    """One From more than `h=` names: a second one that was put in later is found so (RFC 6376 §8.15)."""
    hasher = hashlib.sha256()
    dkim.hash_headers(hasher, how, how.canonicalize_headers(fields), [*names, b"from"], fields[index], tags)
    return hasher.hexdigest()
