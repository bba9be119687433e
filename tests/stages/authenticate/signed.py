"""Messages that are really signed, and the DNS records of their keys."""

from typing import Any

import dkim
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.authenticate.signatures import signatures
from relay.model.authentication import Signature
from relay.sign.body_hash import RelaxedBodyHash
from relay.sign.dkim_signature import SigningIdentity, signature_fields
from relay.sign.dns_record import record_text
from relay.sign.header_block import fields

MESSAGE = b"From: Jan <jan@partner.example>\r\nTo: piet@example.nl\r\nSubject: Hoi,\r\n\tPiet\r\n\r\nBeste  Piet, \r\n\r\n.\r\n\r\n\r\n"
KEY = rsa.generate_private_key(65537, 2048)
EDWARDS = ed25519.Ed25519PrivateKey.generate()


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def signed(message: bytes = MESSAGE, key: rsa.RSAPrivateKey = KEY, domain: str = "partner.example", **how: Any) -> bytes:
    """By dkimpy, which others wrote."""
    return dkim.sign(message, b"s1", domain.encode(), pem(key), **how) + message  # type: ignore[no-any-return]


def signed_with_edwards(message: bytes = MESSAGE, domain: str = "partner.example") -> bytes:
    """By the signer of the relay: dkimpy has no Ed25519 of its own."""
    header = message.partition(b"\r\n\r\n")[0] + b"\r\n"
    identity = SigningIdentity(domain, "ed", "ed25519-sha256", EDWARDS)
    return signature_fields(fields(header), body_hash(message), [identity], 1_700_000_000) + message


def body_hash(message: bytes) -> str:
    hasher = RelaxedBodyHash()
    hasher.update(message)
    return hasher.base64()


def read(message: bytes) -> tuple[Signature, ...]:
    return signatures(message, body_hash(message))


def record(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = KEY, **tags: str) -> str:
    """The text of the key's record; `tags` are put in its place or added."""
    parts = dict(part.split("=", 1) for part in record_text(key).replace(" ", "").split(";"))
    return "; ".join(f"{name}={value}" for name, value in {**parts, **tags}.items())


def zone(text: str) -> str:
    """One TXT record in zone file form."""
    return " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))
