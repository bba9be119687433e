"""An SPF record as terms, checked whole before any of it counts (RFC 7208 §4.6, §12)."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from relay.model.authentication import Result

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_RECORD = 4096
"""Octets: what fits into a DNS answer over UDP, and ten times what anybody needs (RFC 7208 §3.4 asks for 450)."""
QUALIFIERS = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}
MACRO = re.compile(r"%(?:%|_|-|\{([slodiphvSLODIPHV])([0-9]*)(r?)([-.+,/_=]*)\})")
"""RFC 7208 §7.1; `c`, `r` and `t` are for explanations only, which nobody here asks for."""
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_TERM = re.compile(r"([-+~?]?)([A-Za-z][A-Za-z0-9_.-]*)([:/].*)?")
_PREFIXES = re.compile(r"(?P<domain>.*?)(?:/(?P<four>0|[1-9][0-9]?))?(?://(?P<six>0|[1-9][0-9]{0,2}))?")
_TOP_LABEL = re.compile(r".*\.(?=[^.]*[A-Za-z])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?|.*" + MACRO.pattern)


class SpfError(Exception):
    """The record can't be read, or asks for too much: `permerror`."""


@dataclass(frozen=True, slots=True)
class Term:
    """One mechanism. `domain` is a domain-spec with macros, empty where the domain of the record is meant; `network` is that of ip4 and
    ip6; `four` and `six` are prefix lengths for a and mx."""

    name: str
    result: Result
    domain: str = ""
    network: Network | None = None
    four: int = 32
    six: int = 128


@dataclass(frozen=True, slots=True)
class Record:
    """`redirect` counts where no term matched."""

    terms: tuple[Term, ...]
    redirect: str = ""


def record_of(texts: Sequence[bytes]) -> Record | None:
    """The one among TXT records; None where there is none. Raises SpfError for several (RFC 7208 §4.5), or what is no SPF."""
    found = [text for text in texts if re.match(rb"v=spf1(?: |\Z)", text, re.IGNORECASE)]
    if not found:
        return None
    if len(found) > 1 or len(found[0]) > MAX_RECORD or not found[0].isascii():
        raise SpfError
    terms: list[Term] = []
    modifiers: dict[str, str] = {}
    for word in found[0].decode("ascii").split(" ")[1:]:
        if not word:
            continue
        modifier = _MODIFIER.fullmatch(word)
        if modifier is None:
            terms.append(_term(word))
        else:
            _modifier(modifier[1].lower(), modifier[2], modifiers)
    ended = any(term.name == "all" for term in terms)  # RFC 7208 §5.1: redirect is ignored then
    return Record(tuple(terms), "" if ended else modifiers.get("redirect", ""))


def _modifier(name: str, value: str, modifiers: dict[str, str]) -> None:
    """One that is not known is left alone, as long as its macros can be read (RFC 7208 §6)."""
    if name in ("redirect", "exp"):
        if name in modifiers:
            raise SpfError
        modifiers[name] = _domain_spec(value)
    elif "%" in MACRO.sub("", value) and not re.fullmatch(r"(?:[^%]|%[%_-]|%\{[A-Za-z][0-9]*r?[-.+,/_=]*\})*", value):
        raise SpfError


def _term(word: str) -> Term:
    match = _TERM.fullmatch(word)
    if match is None:
        raise SpfError
    result, name, rest = QUALIFIERS[match[1] or "+"], match[2].lower(), match[3] or ""
    if name == "all" and not rest:
        return Term(name, result)
    if name in ("include", "exists") and rest.startswith(":"):
        return Term(name, result, _domain_spec(rest[1:]))
    if name == "ptr" and (not rest or rest.startswith(":")):
        return Term(name, result, _domain_spec(rest[1:]) if rest else "")
    if name in ("a", "mx"):
        return _host(name, result, rest)
    if name in ("ip4", "ip6") and rest.startswith(":"):
        return Term(name, result, network=_network(name, rest[1:]))
    raise SpfError


def _host(name: str, result: Result, rest: str) -> Term:
    match = _PREFIXES.fullmatch(rest)
    if match is None:
        raise SpfError
    four, six = int(match["four"] or 32), int(match["six"] or 128)
    if four > 32 or six > 128:
        raise SpfError
    domain = match["domain"]
    if domain and not domain.startswith(":"):
        raise SpfError
    return Term(name, result, _domain_spec(domain[1:]) if domain else "", four=four, six=six)


def _network(name: str, text: str) -> Network:
    try:
        if not re.fullmatch(r"[^/]+(?:/(?:0|[1-9][0-9]*))?", text) or "%" in text:
            raise ValueError
        return ipaddress.IPv4Network(text, strict=False) if name == "ip4" else ipaddress.IPv6Network(text, strict=False)
    except ValueError:
        raise SpfError from None


def _domain_spec(text: str) -> str:
    """RFC 7208 §7.1: visible characters, macros, and at the end a top label or a macro."""
    plain = MACRO.sub("", text)
    counted = all(not match[2] or match[2].strip("0") for match in MACRO.finditer(text))
    if not text or "%" in plain or not plain.isprintable() or " " in plain or not counted or not _TOP_LABEL.fullmatch(text):
        raise SpfError
    return text
