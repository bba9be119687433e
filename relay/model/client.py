"""The other end of a connection: what the socket and the dialogue say of it, before policy has named it."""

from dataclasses import dataclass, field
from enum import StrEnum


class Side(StrEnum):
    """Where a listener faces: `inside` the organisation's mail servers (outbound mail), `outside` the world (inbound mail)."""

    INSIDE = "inside"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Tls:
    """A TLS connection: version as OpenSSL names it, cipher suite, and the client certificate if one was verified."""

    version: str
    cipher: str
    certificate_sha256: str | None = None
    certificate_names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.version} {self.cipher}"


@dataclass(frozen=True, slots=True)
class Peer:
    """One client of one connection. `address` is the one that counts (after PROXY or XCLIENT); `proxy` the one that connected, if
    another.
    """

    listener: str
    side: Side
    address: str
    port: int
    local_address: str
    local_port: int
    lmtp: bool = False
    helo: str = ""
    esmtp: bool = False
    tls: Tls | None = None
    login: str | None = None
    proxy: str | None = None
    forwarded: dict[str, str] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """The `with` value of the Received field (RFC 3848), without the UTF8 forms that depend on the message (RFC 6531 §4.3)."""
        base = "LMTP" if self.lmtp else "ESMTP" if self.esmtp else "SMTP"
        if base == "SMTP":
            return base
        return base + ("S" if self.tls else "") + ("A" if self.login else "")
