"""TLS towards the next hop, by the guidelines of NCSC-NL (2025-05): 1.3, and 1.2 with ECDHE and AEAD only."""

import ssl
from pathlib import Path

from relay.model.errors import ConfigurationError
from relay.policy.models import TlsLevel

CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"


def client_context(level: TlsLevel, ca_file: str | None) -> ssl.SSLContext:
    """A context for a level; `ca_file` None trusts what the system trusts. Raises ConfigurationError for an unfit file.

    `encrypted` and `opportunistic` take any certificate: they protect against listening, not against somebody in between (RFC 7435)."""
    if level is TlsLevel.VERIFIED:
        context = _verifying(ca_file)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _verifying(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError([f"{ca_file}: not a file of certificates in PEM ({error.strerror or error})"]) from error


class ClientContexts:
    """Contexts by level and CA file; made again when the file changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[TlsLevel, str | None], tuple[int, ssl.SSLContext]] = {}

    def context(self, level: TlsLevel, ca_file: str | None) -> ssl.SSLContext:
        """Raises ConfigurationError."""
        try:
            stamp = Path(ca_file).stat().st_mtime_ns if ca_file else 0
        except OSError as error:
            raise ConfigurationError([f"{ca_file}: {error.strerror}"]) from error
        known = self._known.get((level, ca_file))
        if known is None or known[0] != stamp:
            known = (stamp, client_context(level, ca_file))
            self._known[level, ca_file] = known
        return known[1]
