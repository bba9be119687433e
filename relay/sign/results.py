"""The Authentication-Results field that Sluis puts in front of mail from outside (RFC 8601): what it verified itself, and nothing else."""

import re
from collections.abc import Iterator

from relay.model.authentication import Authentication

SAFE = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
"""A domain or selector that means the same to every reader; others, which no DNS has, are left out."""


def results_field(found: Authentication | None, null_sender: bool, authserv_id: str) -> bytes:
    """The whole field, CRLF-ended; empty where nothing was verified."""
    if found is None:
        return b""
    results = [*_spf(found, null_sender), *_dkim(found), *_dmarc(found)]
    return ("Authentication-Results: " + ";\r\n\t".join([authserv_id, *(results or ["none"])]) + "\r\n").encode("ascii", "replace")


def _spf(found: Authentication, null_sender: bool) -> Iterator[str]:
    if found.spf is not None:
        yield f"spf={found.spf}" + _property("smtp.helo" if null_sender else "smtp.mailfrom", found.spf_domain)


def _dkim(found: Authentication) -> Iterator[str]:
    if not found.signatures:
        yield "dkim=none"
    for one in found.signatures:
        yield f"dkim={one.result}" + _property("header.d", one.domain) + _property("header.s", one.selector)


def _dmarc(found: Authentication) -> Iterator[str]:
    if found.dmarc is not None:
        asks = f" (p={found.policy})" if found.policy else ""
        yield f"dmarc={found.dmarc}{asks}" + _property("header.from", found.from_domain)


def _property(name: str, value: str) -> str:
    """On a line of its own where it may be long (RFC 5322 §2.1.1)."""
    if not SAFE.fullmatch(value):
        return ""
    return ("\r\n\t" if len(value) > 40 else " ") + f"{name}={value}"
