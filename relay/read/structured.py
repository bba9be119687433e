"""Content-Type and Content-Disposition with their parameters (RFC 2045 §5.1, RFC 2183, RFC 2231), strictly."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from relay.read.ambiguity import Ambiguous
from relay.read.words import decoded_words

_TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"  # noqa: S105 - a grammar
_TYPE = re.compile(rf"[ \t]*({_TOKEN})/({_TOKEN})[ \t]*")
_WORD = re.compile(rf"[ \t]*({_TOKEN})[ \t]*")
# No quoted pair: some readers take the backslash away and some keep it.
_PARAMETER = re.compile(rf';[ \t]*({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|"([^"\\\r\n]*)")[ \t]*')
_QUOTED_PAIR = re.compile(r';[ \t]*(?:file)?name(?:\*[0-9]*\*?)?[ \t]*=[ \t]*"[^"\\]*\\', re.IGNORECASE)
_EXTENDED = re.compile(r"([^*]+)(?:\*(0|[1-9][0-9]?))?(\*)?")
MAX_VALUE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Structured:
    """`value` such as `text/plain` or `attachment`, in lower case; parameters by name in lower case, decoded."""

    value: str
    parameters: dict[str, str]


def parse_content_type(raw: bytes, part: str) -> Structured:
    """Raises Ambiguous."""
    return _parse(raw, _TYPE, part)


def parse_disposition(raw: bytes, part: str) -> Structured:
    """Raises Ambiguous."""
    return _parse(raw, _WORD, part)


def _parse(raw: bytes, first: re.Pattern[str], part: str) -> Structured:
    text = raw.decode("utf-8").strip(" \t")
    head = first.match(text)
    if not head or len(text) > MAX_VALUE:
        raise Ambiguous("content-type-syntax", part)
    plain: dict[str, str] = {}
    position = head.end()
    while position < len(text):
        if text[position:].strip(" \t") == ";":  # a final semicolon is common, and read by all in one way
            break
        found = _PARAMETER.match(text, position)
        if not found or found[1].lower() in plain:
            raise Ambiguous("name-unsound" if _QUOTED_PAIR.match(text, position) else "content-type-syntax", part)
        plain[found[1].lower()] = found[2] if found[3] is None else found[3]
        position = found.end()
    return Structured("/".join(group.lower() for group in head.groups()), _decode(plain, part))


def _decode(plain: dict[str, str], part: str) -> dict[str, str]:
    """RFC 2231: continuations and charsets. One parameter given in two ways is ambiguous: readers choose differently."""
    decoded: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for name, value in plain.items():
        found = _EXTENDED.fullmatch(name)
        if not found:
            raise Ambiguous("content-type-syntax", part)
        base, index, extended = found.groups()
        if index is None and not extended:
            decoded[base] = value
        elif base == "boundary":
            raise Ambiguous("boundary-unsound", part)
        else:
            pieces.setdefault(base, {})[int(index or 0)] = (value, bool(extended))
    for base, numbered in pieces.items():
        if base in decoded or sorted(numbered) != list(range(len(numbered))):
            raise Ambiguous("name-unsound" if base in ("name", "filename") else "content-type-syntax", part)
        decoded[base] = _joined([numbered[index] for index in sorted(numbered)], part)
    return decoded


def _joined(pieces: list[tuple[str, bool]], part: str) -> str:
    charset, raw = "us-ascii", b""
    for index, (value, extended) in enumerate(pieces):
        if extended and index == 0:
            marks = value.split("'", 2)
            if len(marks) != 3:
                raise Ambiguous("name-unsound", part)
            charset, _, value = marks
        raw += unquote_to_bytes(value) if extended else value.encode()
    try:
        return raw.decode(charset or "us-ascii")
    except (LookupError, UnicodeDecodeError, ValueError):
        raise Ambiguous("name-unsound", part) from None


def file_name(content_type: Structured, disposition: Structured | None, part: str) -> str:
    """The one name of a part, as people see it. Raises Ambiguous where there are two."""
    given = [
        _words(value, part)
        for value in ((disposition.parameters.get("filename") if disposition else None), content_type.parameters.get("name"))
        if value is not None
    ]
    if len(given) == 2 and given[0] != given[1]:
        raise Ambiguous("name-conflict", part)
    return given[0] if given else ""


def _words(value: str, part: str) -> str:
    try:
        return decoded_words(value)
    except (LookupError, ValueError):
        raise Ambiguous("name-unsound", part) from None
