"""An RSA key is tried before it signs mail: a message that is signed with it here must be found good by dkimpy, which others wrote. The
only place that knows dkimpy.

dkimpy's own signer is pure Python, and makes each field canonical again for each signature: 6.6 ms and 50 µs a message where ours takes 0.3
ms and 35 µs (docs/performance.md). As a verifier it is what others measure themselves against. Ed25519 it
verifies with PyNaCl only, which nothing else here needs, so that such keys are not tried: the same code makes header and body canonical.
"""

from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.model.errors import ConfigurationError
from relay.sign.body_hash import RelaxedBodyHash
from relay.sign.dkim_signature import PrivateKey, SigningIdentity, signature_fields
from relay.sign.dns_record import record_text
from relay.sign.header_block import fields

HEADER = (
    b"From: Trial  <trial@example.org>\r\nTo: a@example.org,\r\n\tb@example.org\r\n"
    b"Subject: A\t trial \r\nMessage-ID: <trial@example.org>\r\n"
)
MESSAGE = HEADER + b"\r\nDear  reader, \t\r\n\r\n..\r\n\r\n\r\n"
TIME_S = 1_700_000_000


def try_key(key: PrivateKey, algorithm: str, path: Path) -> None:
    """Raises ConfigurationError where what it signs does not verify."""
    if not isinstance(key, rsa.RSAPrivateKey):
        return
    identity = SigningIdentity("trial.example.org", "trial", algorithm, key)
    body_hash = RelaxedBodyHash()
    body_hash.update(MESSAGE)
    signed = signature_fields(fields(HEADER), body_hash.base64(), [identity], TIME_S) + MESSAGE
    if not verifies(signed, record_text(key)):
        raise ConfigurationError([f"{path}: what is signed with this key does not verify"])


def verifies(message: bytes, record: str) -> bool:
    """Whether the first signature of a message holds by the key in a DNS record."""
    try:
        return bool(dkim.DKIM(message).verify(dnsfunc=lambda name, timeout=5: record.encode()))
    except dkim.DKIMException:
        return False
