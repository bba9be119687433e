"""Reads DKIM-Signature fields and computes what they must have signed, in a worker without network (RFC 6376 §3.5, §3.7, §6.1.1).

dkimpy is what the tests measure this against. It is not used here: with the DNS library that it loads it costs every relay 10 MB, it needs
five seconds for 40 KB of blanks in a body, and it has Ed25519 only with one more package. The relaxed hash of the body is known already.
"""

import base64
import hashlib
import re
import time
from collections.abc import Sequence
from functools import cached_property

from relay.authenticate.tags import tags_of
from relay.model.address import domain_key
from relay.model.authentication import MOST_SIGNATURES, Result, Signature

MAX_FIELD = 4096  # octets of one: with twenty names and RSA-4096 it has 1,500
MAX_FOLDS = 64  # lines of one
MAX_NAMES = 256  # in `h=`
MAX_HEADER = 1024 * 1024  # octets: four times what inspection lets pass by default (settings: inspection.header_size)
MAX_FIELDS = 2000  # of the header, and more are no mail
PIECE = 65_536
ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
"""RFC 8301 §3.1: a signature with SHA-1 is never found good. RFC 8463 §3."""
_NAME = re.compile(rb"[!-9;-~]+:")  # RFC 5322 §3.6.8; a blank before the colon is read in two ways
_NEXT = re.compile(rb"\r\n(?![ \t])")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_HOW = re.compile(r"(relaxed|simple)(?:/(relaxed|simple))?")
_BLANKS = re.compile(rb"[ \t]+")
LENIENCE = 36_000  # seconds that the clock of a sender may be wrong

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
    folded = value.count(b"\r\n")
    tags = tags_of(value.replace(b"\r\n", b""), MAX_FIELD) if folded <= MAX_FOLDS else None
    if tags is None or not _DOMAIN.fullmatch(tags.get("d", "")) or not _DOMAIN.fullmatch(tags.get("s", "")):
        return _unusable()
    domain, selector = domain_key(tags["d"]), domain_key(tags["s"])
    identity = domain_key(tags.get("i", f"@{domain}").rpartition("@")[2])
    names = [name.strip().lower().encode("ascii") for name in tags.get("h", "").split(":")]
    signed, hashed = ("".join(tags.get(name, "").split()) for name in ("b", "bh"))
    how = _HOW.fullmatch("".join(tags.get("c", "simple").split()))
    usable = tags.get("v") == "1" and tags.get("a") in ALGORITHMS and _BASE64.fullmatch(signed) and _timely(tags)
    # RFC 6376 §5.4: without From it says nothing of who wrote. §3.5: `i=` is at or below `d=`.
    if not usable or how is None or b"from" not in names or len(names) > MAX_NAMES or not f".{identity}".endswith(f".{domain}"):
        return _unusable(domain, selector)
    if "dns/txt" not in tags.get("q", "dns/txt").replace(" ", "").split(":"):
        return _unusable(domain, selector)
    if "l" in tags:  # RFC 6376 §8.2: anybody may add to such a body
        return Signature(domain, selector, known=Result.POLICY)
    if hashed != (message.relaxed if how[2] == "relaxed" else message.simple):
        return Signature(domain, selector, known=Result.FAIL)
    return Signature(domain, selector, tags["a"], identity, _digest(fields, index, names, how[1] == "relaxed"), signed)


def _timely(tags: dict[str, str]) -> bool:
    """Not signed in the future, and not expired (RFC 6376 §3.5)."""
    if not all(_SECONDS.fullmatch(tags[name]) for name in ("t", "x") if name in tags):
        return False
    now = time.time()
    signed, expires = int(tags.get("t", 0)), int(tags.get("x", 10**12))
    return signed <= now + LENIENCE and expires >= now - LENIENCE and expires >= signed


def _digest(fields: Fields, index: int, names: Sequence[bytes], relaxed: bool) -> str:
    """Fields of one name from the bottom up; one From more than `h=` names: a second one that was put in later is found so (RFC 6376
    §5.4.2, §8.15). The signature comes last, with an empty `b=` and without its CRLF (§3.7)."""
    left: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for field in fields:
        left.setdefault(field[0].lower(), []).append(field)
    hasher = hashlib.sha256()
    for name in (*names, b"from"):
        if left.get(name):
            hasher.update(_canonical(*left[name].pop(), relaxed))
    name, value = fields[index]
    hasher.update(_canonical(name, b";".join(_emptied(tag) for tag in value.split(b";")), relaxed).removesuffix(b"\r\n"))
    return hasher.hexdigest()


def _emptied(tag: bytes) -> bytes:
    """Of `b=` the value and the white space around it."""
    name, equals, _ = tag.partition(b"=")
    return name + equals if equals and name.strip() == b"b" else tag


def _canonical(name: bytes, value: bytes, relaxed: bool) -> bytes:
    """RFC 6376 §3.4.1, §3.4.2."""
    if not relaxed:
        return name + b":" + value
    return name.lower() + b":" + _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ") + b"\r\n"
