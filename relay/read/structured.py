"""Content-Type and Content-Disposition with their parameters (RFC 2045 §5.1, RFC 2183, RFC 2231), strictly."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from relay.read import charsets
from relay.read.ambiguity import Ambiguous
from relay.read.words import WORDS, decoded_words

_TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"  # noqa: S105 - a grammar
_SPACE = r"(?:\r\n)?[ \t]"  # unfolded or with its fold
_TYPE = re.compile(rf"(?:{_SPACE})*({_TOKEN})/({_TOKEN})(?:{_SPACE})*")
_WORD = re.compile(rf"(?:{_SPACE})*({_TOKEN})(?:{_SPACE})*")
_PARAMETER = re.compile(rf';(?:{_SPACE})*({_TOKEN})(?:{_SPACE})*=(?:{_SPACE})*(?:({_TOKEN})|"([^"]*)")(?:{_SPACE})*')
# A quoted pair is read by some without its backslash, a semicolon ends the value for some, and a fold stays in it for some.
_WORD_CHARSET = re.compile(r"=\?([^?]+)\?[bqBQ]\?[^?]*\?=")
_UNSOUND = re.compile(r"[\\;\r\n]")
_EXTENDED = re.compile(r"([^*]+)(?:\*(0|[1-9][0-9]?))?(\*)?")
_WHOLE = -1  # the number of a piece that has none
_NAMES = ("name", "filename")
MAX_VALUE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Structured:
    """`value` such as `text/plain` or `attachment`, in lower case; parameters by name in lower case, decoded."""

    value: str
    parameters: dict[str, str]


def parse_content_type(raw: bytes, part: str) -> Structured:
    """`raw` is the value with its folds. Raises Ambiguous."""
    return _parse(raw, _TYPE, part)


def parse_disposition(raw: bytes, part: str) -> Structured:
    """`raw` is the value with its folds. Raises Ambiguous."""
    return _parse(raw, _WORD, part)


def _parse(raw: bytes, first: re.Pattern[str], part: str) -> Structured:
    text = raw.decode("utf-8").strip(" \t")
    head = first.match(text)
    if not head or len(text) > MAX_VALUE:
        raise Ambiguous("content-type-syntax", part)
    plain: dict[str, str] = {}
    position = head.end()
    while position < len(text):
        if text[position:].strip(" \t\r\n") == ";":  # a final semicolon is common, and read by all in one way
            break
        found = _PARAMETER.match(text, position)
        if not found or found[1].lower() in plain:
            raise Ambiguous("content-type-syntax", part)
        name = found[1].lower()
        plain[name] = found[2] if found[3] is None else _quoted(name, found[3], part)
        position = found.end()
    return Structured("/".join(group.lower() for group in head.groups()), _decode(plain, part))


def _quoted(name: str, value: str, part: str) -> str:
    if _UNSOUND.search(value):
        unfolded = value.replace("\r\n", "")
        if name in _NAMES and WORDS.fullmatch(unfolded):  # a fold between two encoded words is read by all in one way
            return unfolded
        raise Ambiguous(_broken(name.partition("*")[0]), part)
    return value


def _broken(base: str) -> str:
    return "name-unsound" if base in _NAMES else "content-type-syntax"


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
            number = _WHOLE if index is None else int(index)
            if number in pieces.setdefault(base, {}):
                raise Ambiguous(_broken(base), part)
            pieces[base][number] = (value, bool(extended))
    for base, numbered in pieces.items():
        if base in decoded or sorted(numbered) not in ([_WHOLE], list(range(len(numbered)))):
            raise Ambiguous(_broken(base), part)
        decoded[base] = _joined([numbered[index] for index in sorted(numbered)], part)
    return decoded


def _joined(pieces: list[tuple[str, bool]], part: str) -> str:
    """Each piece by itself: a character that is cut in two (RFC 2231 §4.1 does not forbid it) is mended by some readers only."""
    charset, joined = "us-ascii", []
    if not pieces[0][1] and any(extended for _, extended in pieces):  # the charset stands in the first piece, or nowhere
        raise Ambiguous("name-unsound", part)
    for index, (value, extended) in enumerate(pieces):
        if extended and index == 0:
            marks = value.split("'", 2)
            if len(marks) != 3:
                raise Ambiguous("name-unsound", part)
            charset, _, value = marks
            if not charsets.known(charset):
                raise Ambiguous("name-unsound", part)
        try:
            joined.append(unquote_to_bytes(value).decode(charset) if extended else value)
        except ValueError:
            raise Ambiguous("name-unsound", part) from None
    return "".join(joined)


def file_name(content_type: Structured, disposition: Structured | None, part: str) -> str:
    """The one name of a part, as people see it. Raises Ambiguous where there are two."""
    given = [
        _words(value, part)
        for value in ((disposition.parameters.get("filename") if disposition else None), content_type.parameters.get("name"))
        if value is not None
    ]
    if any(name != name.strip() or not name.isprintable() for name in given):
        raise Ambiguous("name-unsound", part)
    if len(given) == 2 and given[0] != given[1]:
        raise Ambiguous("name-conflict", part)
    return given[0] if given else ""


def _words(value: str, part: str) -> str:
    """RFC 2047 words in a parameter are forbidden (§5) and everywhere; decoded, as all readers of people do, if there is nothing else."""
    if "=?" not in value:
        return value
    if not WORDS.fullmatch(value) or not all(charsets.known(charset) for charset in _WORD_CHARSET.findall(value)):
        raise Ambiguous("name-unsound", part)
    try:
        return decoded_words(value)
    except (LookupError, ValueError):
        raise Ambiguous("name-unsound", part) from None
