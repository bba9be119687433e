"""TLS for listeners: 1.2 with ECDHE and AEAD, and 1.3 (NCSC-NL, IT Security Guidelines for TLS, version 2025-05: "good" settings)."""

import ssl
from pathlib import Path

from relay.model.errors import ConfigurationError
from relay.settings.models import TlsFiles

CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!DSS"


class ServerTls:
    """The context of a listener. New files make a new one, so that a CA or certificate that left the settings is trusted no more."""

    def __init__(self, files: TlsFiles) -> None:
        self.context = server_context(files)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Raises ConfigurationError that names the file. A client certificate is asked for where there is a `client_ca`; a wrong one fails the
    handshake, none is taken: then address or login must say who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _load(context, files)
    return context


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    _readable(files.certificate)
    _readable(files.key)
    try:
        context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigurationError([f"{files.certificate}:1: no usable certificate with the key {files.key}: {reason}"]) from None
    if files.client_ca is not None:
        _readable(files.client_ca)
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as error:
            raise ConfigurationError([f"{files.client_ca}:1: no usable CA certificate: {error.reason}"]) from None
        context.verify_mode = ssl.CERT_OPTIONAL


def _readable(path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise ConfigurationError([f"{path}:1: {error.strerror}"]) from None
