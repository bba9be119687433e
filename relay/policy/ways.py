"""The ways out, what signs on them, and what must have been inspected before."""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.model.address import domain_key
from relay.policy.base import Domain, Name, Pattern, Strict

_SMART_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:\[\]@]+):([0-9]{1,5})")


def _smart_host(text: str) -> str:
    found = _SMART_HOST.fullmatch(text)
    if found is None or not 1 <= int(found.group(1)) <= 65535:
        raise ValueError(f"'{text}' is not host:port or [address]:port")
    return text


def _folded(text: str) -> str:
    if text != domain_key(text):
        raise ValueError(f"'{text}' must be written as '{domain_key(text)}': lower case, A-labels")
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"'{text}' is no absolute path: a policy may be read from anywhere")
    return text


class TlsLevel(StrEnum):
    """`verified`: TLS with a certificate that names the host. `encrypted`: TLS with any certificate. `opportunistic`: TLS where offered;
    plaintext only where STARTTLS is not offered, never after a failed handshake. `none`: never TLS (tests, loopback)."""

    VERIFIED = "verified"
    ENCRYPTED = "encrypted"
    OPPORTUNISTIC = "opportunistic"
    NONE = "none"


class Route(Strict):
    """A way out. The first route whose `to` matches is taken, unless a rule names another."""

    name: Name = Field(description="its name in rules and in the record")
    to: tuple[Pattern, ...] = Field(description="recipients that go this way; may be empty where only rules name it")
    smart_host: Annotated[str, AfterValidator(_smart_host)] | None = Field(
        default=None, description="`host:port` or `[address]:port`; without it the MX records of the recipient's domain are looked up"
    )
    tls: TlsLevel = Field(default=TlsLevel.VERIFIED, description="`verified`, `encrypted`, `opportunistic` or `none`, see below")
    lmtp: bool = Field(default=False, description="LMTP (RFC 2033) instead of SMTP; with a smart host only")
    login: str | None = Field(default=None, description="a file with `user:password` in the `secrets` folder of the settings")
    ca_file: Annotated[str, AfterValidator(_absolute)] | None = Field(
        default=None, description="trusted certificates (PEM), an absolute path; without it those of the system"
    )
    port: int = Field(default=25, ge=1, le=65535, description="the port for MX delivery")
    connections: int = Field(default=20, ge=1, le=100, description="connections at a time to one destination")


class SigningKey(Strict):
    """A DKIM selector. Its private key lies in the `dkim_keys` folder of the settings as `<domain>/<selector>.pem`."""

    selector: str = Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
        description="the selector (RFC 6376 §3.1)",
    )
    algorithm: Literal["rsa-sha256", "ed25519-sha256"] = Field(description="`rsa-sha256` or `ed25519-sha256`")


class Signing(Strict):
    """Which keys sign for which sender domain."""

    domain: Annotated[Domain, AfterValidator(_folded)] = Field(description="the domain, exactly, in lower case and A-labels")
    keys: tuple[SigningKey, ...] = Field(min_length=1, description="the keys; each makes a signature")


Inspector = Literal["yara", "type", "archive", "clamd"]


class InspectionPolicy(Strict):
    """Which inspectors must have answered before mail in a direction is delivered. One that is down makes mail wait."""

    outbound: tuple[Inspector, ...] = Field(default=("yara", "type", "archive"), description="for mail to elsewhere")
    inbound: tuple[Inspector, ...] = Field(default=("yara", "type", "archive"), description="for mail to us")
    internal: tuple[Inspector, ...] = Field(default=("yara", "type", "archive"), description="for mail from us to us")
