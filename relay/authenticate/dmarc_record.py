"""DMARC records, and the walk up the tree of DNS that finds them (RFC 9989 §4.7, §4.10)."""

import re
from dataclasses import dataclass

from relay.authenticate.tags import tags_of
from relay.model.ports import AuthenticationDns

MAX_RECORD = 4096
MOST_QUESTIONS = 8
"""RFC 9989 §4.10: of a long name the labels between its own and its seventh from the right are left out."""
WORDS = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class Record:
    """`domain` is where it was found. What is not there or is no word of DMARC is empty."""

    domain: str
    p: str = ""
    sp: str = ""
    np: str = ""
    strict_spf: bool = False
    strict_dkim: bool = False
    psd: str = "u"
    testing: bool = False


class Tree:
    """What was asked for one message, each name once. Raises ResolverTemporaryError."""

    def __init__(self, dns: AuthenticationDns) -> None:
        self._dns = dns
        self._known: dict[str, Record | None] = {}

    async def at(self, domain: str) -> Record | None:
        """The record of this very domain. Several are none (RFC 9989 §4.10)."""
        if domain not in self._known:
            found = [record for text in await self._dns.txt(f"_dmarc.{domain}") if (record := record_of(text, domain)) is not None]
            self._known[domain] = found[0] if len(found) == 1 else None
        return self._known[domain]

    async def organisational(self, domain: str) -> str:
        """The organisational domain (RFC 9989 §4.10.2)."""
        found = domain
        for name in walk(domain):
            record = await self.at(name)
            if record is None:
                continue
            if record.psd == "n":
                return name
            if record.psd == "y":
                return found if name == domain else _one_below(name, domain)
            found = name
        return found

    async def of_author(self, domain: str) -> Record | None:
        """The record that counts for a domain in From: its own, that of its organisational domain, that of the public suffix (RFC 9989
        §4.10.1)."""
        own = await self.at(domain)
        if own is not None:
            return own
        organisational = await self.organisational(domain)
        record = await self.at(organisational)
        if record is not None:
            return record
        for name in walk(domain):
            record = await self.at(name)
            if record is not None and record.psd == "y":
                return record
        return None


def walk(domain: str) -> list[str]:
    """The names that are asked, from the domain upward."""
    labels = domain.split(".")
    start = 1 if len(labels) < MOST_QUESTIONS else len(labels) - MOST_QUESTIONS + 1
    return [domain] + [".".join(labels[index:]) for index in range(start, len(labels))]


def _one_below(name: str, domain: str) -> str:
    return ".".join(domain.split(".")[-(name.count(".") + 2) :])


def record_of(text: bytes, domain: str) -> Record | None:
    """None where it is no DMARC record. Tags that are not known are left alone (RFC 9989 §4.7)."""
    if not re.match(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)", text):
        return None
    tags = tags_of(text, MAX_RECORD)
    if tags is None:
        return None
    p, sp, np = (_word(tags.get(name, "")) for name in ("p", "sp", "np"))
    return Record(
        domain,
        p or "none",
        sp,
        np,
        strict_spf=tags.get("aspf", "r").lower() == "s",
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        psd=tags.get("psd", "u").lower(),
        testing=tags.get("t", "n").lower() == "y",
    )


def _word(text: str) -> str:
    return text.lower() if text.lower() in WORDS else ""
