"""Address lists of header fields (RFC 5322 §3.4), in one pass: comments, quoted strings, groups, route. What is not of the grammar is
None.
"""

import re
from dataclasses import dataclass

MAX_OCTETS = 64 * 1024
_ATEXT = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f])"
_DOT_ATOM = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
_TOKENS = re.compile(
    rf"""(?P<space>[ \t]+)|(?P<quoted>"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*")|(?P<comment>\()|(?P<special>[<>@,:;])"""
    rf"""|(?P<literal>\[[0-9A-Za-z:.]*\])|(?P<atom>{_DOT_ATOM}\.?)"""
)
_MARKS = re.compile(r'\\.|["()]')


@dataclass(frozen=True, slots=True)
class HeaderAddress:
    """One mailbox of a header: the display name as written, the address."""

    display: str
    address: str


def parse_addresses(text: str) -> list[HeaderAddress] | None:
    """Every mailbox, those of groups too; None for what is no address list. An empty group gives none."""
    if len(text) > MAX_OCTETS:
        return None
    tokens = _tokens(text)
    if tokens is None:
        return None
    found: list[HeaderAddress] = []
    entry: list[tuple[str, str]] = []
    grouped = angle = False
    for kind, value in [*tokens, ("special", ",")]:
        if kind == "special" and value in "<>":
            angle = value == "<"
        if kind == "special" and value in ",;:" and not angle:
            if value == ":":
                if grouped or not entry or any(item == ("special", "<") for item in entry):
                    return None
                grouped, entry = True, []
                continue
            if entry:
                mailbox = _mailbox(entry)
                if mailbox is None:
                    return None
                found.append(mailbox)
            entry = []
            if value == ";":
                if not grouped:
                    return None
                grouped = False
            continue
        entry.append((kind, value))
    return None if grouped else found


def _tokens(text: str) -> list[tuple[str, str]] | None:
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        found = _TOKENS.match(text, position)
        if not found or found.lastgroup is None:
            return None
        position = found.end()
        if found.lastgroup == "comment":
            end = _comment_end(text, position)
            if end is None:
                return None
            position = end
        elif found.lastgroup != "space":
            tokens.append((found.lastgroup, found[0]))
    return tokens


def _comment_end(text: str, position: int) -> int | None:
    depth = 1
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return None


def without_comments(text: str) -> str:
    """Each comment outside a quoted string (RFC 5322 §3.2.2) becomes a space; one that is never closed stays as it is. One pass."""
    kept = []
    start = depth = 0
    quoted = False
    for found in _MARKS.finditer(text):
        if found[0] == '"' and not depth:
            quoted = not quoted
        elif found[0] == "(" and not quoted:
            if not depth:
                kept.append(text[start : found.start()])
                start = found.start()
            depth += 1
        elif found[0] == ")" and depth:
            depth -= 1
            if not depth:
                kept.append(" ")
                start = found.end()
    return "".join(kept) + text[start:]


def _mailbox(entry: list[tuple[str, str]]) -> HeaderAddress | None:
    if ("special", "<") not in entry:
        address = _addr_spec(entry)
        return HeaderAddress("", address) if address else None
    start = entry.index(("special", "<"))
    if entry[-1] != ("special", ">") or any(kind not in ("atom", "quoted") for kind, _ in entry[:start]):
        return None
    address = _addr_spec(entry[start + 1 : -1])
    if not address:
        return None
    words = [re.sub(r"\\(.)", r"\1", value[1:-1]) if kind == "quoted" else value for kind, value in entry[:start]]
    return HeaderAddress(" ".join(words), address)


def _addr_spec(entry: list[tuple[str, str]]) -> str | None:
    """local @ domain: exactly three tokens. An obsolete route is not taken: no mail of today has one."""
    if len(entry) != 3 or entry[1] != ("special", "@") or entry[0][0] not in ("atom", "quoted") or entry[2][0] not in ("atom", "literal"):
        return None
    if entry[0][1].endswith(".") or entry[2][1].endswith("."):
        return None
    return f"{entry[0][1]}@{entry[2][1]}"
