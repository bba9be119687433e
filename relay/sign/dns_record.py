"""DKIM keys in DNS: the TXT record for a private key, and whether what DNS says belongs to it (RFC 6376 §3.6.1, RFC 8463 §4)."""

import base64
import binascii
import re
from collections.abc import Sequence
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.sign.dkim_signature import PrivateKey

STRING = 255  # RFC 1035 §3.3: octets in one character-string


class Published(StrEnum):
    """What DNS says of a key."""

    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"
    REVOKED = "revoked"
    TESTING = "testing"
    SEVERAL = "several"
    UNKNOWN = "unknown"


def record_name(domain: str, selector: str) -> str:
    """RFC 6376 §3.6.2.1."""
    return f"{selector}._domainkey.{domain}"


def record_text(key: PrivateKey) -> str:
    """The whole record, in one piece. `h=sha256`: a signature with SHA-1 made with a stolen or broken key must not verify (RFC 8301)."""
    kind = "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ed25519"
    return f"v=DKIM1; h=sha256; k={kind}; p={base64.b64encode(_public(key)).decode('ascii')}"


def zone_line(domain: str, selector: str, text: str) -> str:
    """For a zone file in BIND's form: strings of at most 255 octets, in parentheses where there are several."""
    strings = [text[start : start + STRING] for start in range(0, len(text), STRING)]
    name = f"{record_name(domain, selector)}."
    if len(strings) == 1:
        return f'{name} IN TXT "{strings[0]}"'
    return "\n".join([f"{name} IN TXT (", *(f'    "{string}"' for string in strings), ")"])


def check_record(texts: Sequence[bytes], key: PrivateKey) -> Published:
    """Compares the TXT records at a key's name with the key. Several records are an error: RFC 6376 §3.6.2.2 leaves undefined which is
    taken."""
    candidates = [text for text in texts if b"p=" in text or text.startswith(b"v=DKIM1")]
    if not candidates:
        return Published.MISSING
    if len(candidates) > 1:
        return Published.SEVERAL
    tags = _tags(candidates[0])
    if tags is None:
        return Published.WRONG
    return _judge(tags, key)


def _judge(tags: dict[str, str], key: PrivateKey) -> Published:
    kind = "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ed25519"
    if tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        return Published.WRONG
    if not tags["p"]:
        return Published.REVOKED  # RFC 6376 §3.6.1
    hashes = tags.get("h", "sha256").split(":")
    if tags.get("k", "rsa") != kind or "sha256" not in hashes or not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return Published.WRONG
    try:
        published = base64.b64decode(tags["p"], validate=True)
    except (binascii.Error, ValueError):
        return Published.WRONG
    if published != _public(key):
        return Published.WRONG
    return Published.TESTING if "y" in tags.get("t", "").split(":") else Published.RIGHT


def _tags(text: bytes) -> dict[str, str] | None:
    """RFC 6376 §3.2: `name=value` joined by semicolons, white space anywhere around; None if it is no such list."""
    tags: dict[str, str] = {}
    try:
        items = [item for item in text.decode("ascii").split(";") if item.strip()]
    except UnicodeDecodeError:
        return None
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or name.strip() in tags:
            return None
        tags[name.strip()] = re.sub(r"\s+", "", value)
    return tags


def _public(key: PrivateKey) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
