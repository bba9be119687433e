"""A mailbox as it stands in an envelope, and the key under which policy and lists know it."""

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)  # RFC 5321 §4.1.2


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
            local = _QUOTED_PAIR.sub(r"\1", local[1:-1])
        return f"{local.casefold()}@{domain_key(self.domain)}" if self.domain else local.casefold()


@lru_cache(maxsize=16_384)
def _a_labels(domain: str) -> str:
    return idna.encode(domain, uts46=True, transitional=False).decode("ascii").lower()


_a_labels("é.example")  # its tables are loaded now, so that deciding touches no disk


def domain_key(domain: str) -> str:
    """A domain folded for comparison: lower case, A-labels by IDNA2008 (RFC 5891) after the mapping of UTS #46, as browsers and mail
    programs show it, no final dot. What IDNA refuses stays as it is, in lower case, and no pattern covers it."""
    folded = domain.rstrip(".").lower()
    if folded.isascii():
        return folded
    try:
        return _a_labels(folded).rstrip(".")  # a full stop of another script has become one by now (UTS #46 §4)
    except idna.IDNAError:
        return folded


def address_key(text: str) -> str:
    """The key of an address given as text; the last `@` parts local part and domain."""
    local, _, domain = text.rpartition("@")
    return Mailbox(local, domain).key if local else Mailbox(domain, "").key


def key_domain(key: str) -> str:
    """The domain in the key of an address; empty where it has none."""
    return key.rpartition("@")[2] if "@" in key else ""
