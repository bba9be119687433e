"""A mailbox as it stands in an envelope, and the key under which policy and lists know it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mailbox:
    """`local@domain` exactly as received (RFC 5321 §4.1.2, RFC 6531 §3.3); `domain` may be an address literal, or empty for
    `<postmaster>`.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def ascii(self) -> bool:
        """False where delivery needs SMTPUTF8 (RFC 6531 §3.3)."""
        return str(self).isascii()

    @property
    def key(self) -> str:
        """Folded for comparison: quoting removed, lower case, domain as A-labels (RFC 5890)."""
        local = self.local
        if len(local) >= 2 and local[0] == local[-1] == '"':
            local = local[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        return f"{local.casefold()}@{domain_key(self.domain)}" if self.domain else local.casefold()


def domain_key(domain: str) -> str:
    """A domain folded for comparison: lower case, A-labels, no final dot. What IDNA refuses stays as it is, in lower case."""
    folded = domain.rstrip(".").lower()
    if folded.isascii():
        return folded
    try:
        return folded.encode("idna").decode("ascii")
    except UnicodeError:
        return folded


def address_key(text: str) -> str:
    """The key of an address given as text; the last `@` parts local part and domain."""
    local, _, domain = text.rpartition("@")
    return Mailbox(local, domain).key if local else Mailbox(domain, "").key
