"""A DKIM key as DNS publishes it (RFC 6376 §3.6.1, RFC 8463 §4), and what it says of a signature."""

import base64
import binascii
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from relay.authenticate.tags import tags_of
from relay.model.authentication import Result, Signature

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey
MAX_RECORD = 8192  # octets: RSA-4096 has 750
LEAST_BITS = 1024  # RFC 8301 §3.2: less is never found good
MOST_BITS = 8192  # more than anybody publishes, and slow


def judged(signature: Signature, texts: Sequence[bytes]) -> Result:
    """By the TXT records at the key's name. A key that is missing, revoked or for something else is a `permerror` (RFC 6376 §6.1.2);
    one that is only being tested proves nothing, and does no harm either (§3.6.1: `t=y`)."""
    records = [tags for text in texts if (tags := tags_of(text, MAX_RECORD)) is not None and "p" in tags]
    if len(records) != 1 or not _for_this(records[0], signature):  # RFC 6376 §3.6.2.2: of several it is not said which counts
        return Result.PERMERROR
    key = _key(records[0], signature.algorithm)
    if key is None:
        return Result.PERMERROR
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < LEAST_BITS:
        return Result.FAIL
    if "y" in records[0].get("t", "").split(":"):
        return Result.NEUTRAL
    return Result.PASS if _signed(signature, key) else Result.FAIL


def _for_this(tags: dict[str, str], signature: Signature) -> bool:
    if tags.get("v", "DKIM1") != "DKIM1" or "sha256" not in tags.get("h", "sha256").split(":"):
        return False
    if not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return False
    return "s" not in tags.get("t", "").split(":") or signature.identity == signature.domain


def _key(tags: dict[str, str], algorithm: str) -> PublicKey | None:
    if tags.get("k", "rsa") != algorithm.partition("-")[0]:
        return None
    try:
        octets = base64.b64decode(re.sub(r"\s", "", tags["p"]), validate=True)
        if algorithm == "ed25519-sha256":
            return ed25519.Ed25519PublicKey.from_public_bytes(octets)
        key = load_der_public_key(octets)
    except (binascii.Error, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) and key.key_size <= MOST_BITS else None


def _signed(signature: Signature, key: PublicKey) -> bool:
    try:
        value, digest = base64.b64decode(signature.value, validate=True), bytes.fromhex(signature.digest)
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, digest, padding.PKCS1v15(), utils.Prehashed(SHA256()))  # RFC 6376 §3.3.1
        else:
            key.verify(value, digest)  # RFC 8463 §3: PureEdDSA over the SHA-256
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
