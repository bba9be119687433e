"""Command lines by ABNF: verbs, paths, parameters, chunks (RFC 5321 §4.1.2, RFC 6531 §3.3, RFC 3461 §4, RFC 3030 §2). No sockets, no
state.
"""

import ipaddress
import re
from dataclasses import dataclass

from relay.model.address import Mailbox
from relay.model.errors import SluisError

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_ATEXT_8 = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f])"  # RFC 6531 §3.3
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
_QUOTED_8 = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|[^\x00-\x7f]|\\[\x20-\x7e])*"'
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_LABEL_8 = r"(?:[A-Za-z0-9]|[^\x00-\x7f])(?:(?:[A-Za-z0-9-]|[^\x00-\x7f])*(?:[A-Za-z0-9]|[^\x00-\x7f]))?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_DOMAIN_8 = rf"{_LABEL_8}(?:\.{_LABEL_8})*"
_LITERAL = r"\[[0-9A-Za-z:.]+\]"
_LOCAL = rf"(?:{_ATEXT}+(?:\.{_ATEXT}+)*|{_QUOTED})"
_LOCAL_8 = rf"(?:{_ATEXT_8}+(?:\.{_ATEXT_8}+)*|{_QUOTED_8})"
# RFC 5321 appendix C: a source route is accepted and ignored.
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"

_MAILBOX = re.compile(rf"({_LOCAL_8})@({_DOMAIN_8}|{_LITERAL})")
_PATH = re.compile(rf"<{_ROUTE}({_LOCAL_8})@({_DOMAIN_8}|{_LITERAL})>(?: (.*))?", re.DOTALL)
_NULL_PATH = re.compile(r"<>(?: (.*))?", re.DOTALL)
_POSTMASTER = re.compile(r"<(postmaster)>(?: (.*))?", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+|(?:[\x21-\x3c\x3e-\x7e]|[^\x00-\x7f])+))?")
_HELLO = re.compile(rf"{_DOMAIN}|{_LITERAL}")
_CHUNK = re.compile(r"([0-9]{1,20})( LAST)?", re.IGNORECASE)
_VERB = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*")

MAX_LOCAL = 64  # RFC 5321 §4.5.3.1.1
MAX_DOMAIN = 255  # §4.5.3.1.2
MAX_PATH = 256  # §4.5.3.1.3
MAX_LABEL = 63  # RFC 1035 §2.3.4


class SyntaxProblem(SluisError):
    """The argument is not of the grammar."""


@dataclass(frozen=True, slots=True)
class Command:
    """A verb in upper case, empty where there is none, and its argument as it came."""

    verb: str
    argument: str


def parse_line(line: bytes) -> Command:
    """A line without its CRLF. Raises SyntaxProblem for controls and bytes that are no UTF-8."""
    if _CONTROL.search(line):
        raise SyntaxProblem("control character")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxProblem("not UTF-8") from None
    verb, _, argument = text.partition(" ")
    if not _VERB.fullmatch(verb):
        return Command("", "")
    return Command(verb.upper(), argument.rstrip(" "))  # RFC 5321 §4.1.1: trailing white space is tolerated


def parse_path(argument: str, keyword: str) -> tuple[Mailbox | None, dict[str, str | None]]:
    """`FROM:<…> PARAMETERS` or `TO:<…> …`. None is the null path. Raises SyntaxProblem."""
    prefix = keyword + ":"
    if argument[: len(prefix)].upper() != prefix:
        raise SyntaxProblem(f"no {prefix}")
    rest = argument[len(prefix) :].lstrip(" ")  # differs from RFC 5321 §3.3: a space after the colon is common, and harmless
    if null := _NULL_PATH.fullmatch(rest):
        return None, parse_parameters(null[1])
    if postmaster := _POSTMASTER.fullmatch(rest):
        return Mailbox(postmaster[1], ""), parse_parameters(postmaster[2])
    found = _PATH.fullmatch(rest)
    if not found:
        raise SyntaxProblem("not a path")
    return _mailbox(found[1], found[2]), parse_parameters(found[3])


def parse_mailbox(text: str) -> Mailbox:
    """`local@domain`. Raises SyntaxProblem."""
    found = _MAILBOX.fullmatch(text)
    if not found:
        raise SyntaxProblem("not a mailbox")
    return _mailbox(found[1], found[2])


def _mailbox(local: str, domain: str) -> Mailbox:
    local_size, domain_size = len(local.encode()), len(domain.encode())
    if local_size > MAX_LOCAL or domain_size > MAX_DOMAIN or local_size + domain_size + 3 > MAX_PATH:
        raise SyntaxProblem("too long")
    if domain.startswith("["):
        check_literal(domain)
    elif any(len(label.encode("punycode" if not label.isascii() else "ascii")) > MAX_LABEL for label in domain.split(".")):
        raise SyntaxProblem("label too long")
    # Unicode's controls, bidi overrides and separators are no atext of anybody's address, and would lie to who reads it.
    if not (local.isprintable() and domain.isprintable()):
        raise SyntaxProblem("unprintable character")
    return Mailbox(local, domain)


def check_literal(text: str) -> None:
    """An address literal (RFC 5321 §4.1.3). Raises SyntaxProblem."""
    inner = text[1:-1]
    try:
        if inner.lower().startswith("ipv6:"):
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        raise SyntaxProblem("bad address literal") from None


def parse_parameters(text: str | None) -> dict[str, str | None]:
    """ESMTP parameters; keywords in upper case, values as they came. A keyword may come once. Raises SyntaxProblem."""
    parameters: dict[str, str | None] = {}
    for word in (text or "").split(" "):
        if not word:
            continue
        found = _PARAMETER.fullmatch(word)
        if not found or found[1].upper() in parameters:
            raise SyntaxProblem("bad or repeated parameter")
        parameters[found[1].upper()] = found[2]
    return parameters


def parse_chunk(argument: str) -> tuple[int, bool]:
    """The argument of BDAT: how many octets follow, and whether they are the last ones (RFC 3030 §2). Raises SyntaxProblem."""
    found = _CHUNK.fullmatch(argument)
    if not found:
        raise SyntaxProblem("not a chunk")
    return int(found[1]), found[2] is not None


def parse_hello(argument: str) -> str:
    """The argument of EHLO, HELO or LHLO. differs from RFC 5321 §4.1.1.1: underscores are taken, because real hosts have them."""
    text = argument.strip(" ")
    if not text or len(text) > MAX_DOMAIN or not _HELLO.fullmatch(text.replace("_", "-x-")):
        raise SyntaxProblem("not a host name or address literal")
    if text.startswith("["):
        check_literal(text)
    return text


def decode_xtext(text: str) -> str:
    """RFC 3461 §4. Only printable ASCII comes out. Raises SyntaxProblem."""
    if not _XTEXT.fullmatch(text):
        raise SyntaxProblem("bad xtext")
    decoded = re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)
    if not all(" " <= char <= "~" for char in decoded):
        raise SyntaxProblem("unprintable xtext")
    return decoded
