"""A DKIM verifier written from RFC 6376 §6.1 and RFC 8463 alone: it shares no code with the signer or with dkimpy. For the judge and for
tests, not for mail from strangers: what it does not expect, it does not bear."""

import base64
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key


def verify(message: bytes, records: dict[str, bytes]) -> dict[str, bool]:
    """Verifies every signature; the result says for each `selector._domainkey.domain` whether it holds."""
    header, _, body = message.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", header)
    results = {}
    for index, field in enumerate(fields):
        if field.lower().startswith(b"dkim-signature:"):
            name, valid = _verify_one(index, fields, body, records)
            results[name] = valid
    return results


def _verify_one(index: int, fields: list[bytes], body: bytes, records: dict[str, bytes]) -> tuple[str, bool]:
    tags = _tags(fields[index].split(b":", 1)[1])
    assert tags["v"] == "1"
    assert tags["c"] == "relaxed/relaxed"
    name = f"{tags['s']}._domainkey.{tags['d']}"
    if base64.b64decode(tags["bh"]) != hashlib.sha256(_relaxed_body(body)).digest():
        return name, False
    data = _hash_input(index, fields, tags["h"])
    return name, _holds(tags["a"], _tags(records[name])["p"], base64.b64decode(tags["b"]), data)


def _tags(value: bytes) -> dict[str, str]:
    pairs = (item.split("=", 1) for item in value.decode("ascii").split(";") if item.strip())
    return {name.strip(): re.sub(r"\s+", "", text) for name, text in pairs}


def _relaxed_body(body: bytes) -> bytes:
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def _relaxed_field(field: bytes) -> bytes:
    name, _, value = field.partition(b":")
    return name.lower().strip() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" ")


def _hash_input(index: int, fields: list[bytes], names: str) -> bytes:
    left = [field for position, field in enumerate(fields) if position != index]
    chosen = b""
    for name in names.split(":"):
        for position in range(len(left) - 1, -1, -1):
            if left[position].split(b":", 1)[0].strip().lower().decode() == name.lower():
                chosen += _relaxed_field(left.pop(position)) + b"\r\n"
                break
    return chosen + _relaxed_field(re.sub(rb"([;\s]b=)[^;]*", rb"\1", fields[index]))


def _holds(algorithm: str, public: str, signature: bytes, data: bytes) -> bool:
    raw = base64.b64decode(public)
    try:
        if algorithm == "ed25519-sha256":
            ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, hashlib.sha256(data).digest())
        else:
            key = load_der_public_key(raw)
            assert isinstance(key, rsa.RSAPublicKey)
            key.verify(signature, data, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True
