"""Throw-away DKIM keys, and the DNS answers that belong to them."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from relay.model.address import domain_key
from relay.policy.models import Organisation, Policy, Signing, SigningKey

DOMAIN = "example.nl"
RSA = "rsa2026"
ED25519 = "ed2026"


def write_key(folder: Path, domain: str, selector: str, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    """Writes a key where the relay looks for it."""
    path = folder / domain / f"{selector}.pem"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


def txt_record(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """The record by the RFCs, written here independently of the product: RFC 6376 §3.6.1 (SubjectPublicKeyInfo), RFC 8463 §4 (raw 32
    octets)."""
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def policy(domain: str = DOMAIN, **changes: object) -> Policy:
    """A policy that signs `domain` with both keys."""
    keys = (SigningKey(selector=RSA, algorithm="rsa-sha256"), SigningKey(selector=ED25519, algorithm="ed25519-sha256"))
    organisation = Organisation(name="Example", domains=(domain,), authserv_id="relay.example.nl", postmaster=f"postmaster@{domain}")
    return Policy(digest="0" * 64, organisation=organisation, signing=(Signing(domain=domain_key(domain), keys=keys),)).model_copy(
        update=changes
    )
