"""Personal numbers in text: citizen service numbers, IBANs, case numbers of the public prosecution service. They are counted, never kept.

A number is told by its form and by its check: of nine digits by chance one in eleven is a BSN, of a wrong IBAN one in 97.
"""

import html
import re
from collections.abc import Iterable, Iterator

from relay.inspect.item import Item
from relay.inspect.remembered import Remembered
from relay.model.finding import Finding, Kind

MOST = 2 * 1024 * 1024  # octets of one text that are looked through; a text is rarely larger than a book
SHOWN_TYPES = ("text/", "application/xml", "application/json", "application/xhtml+xml", "message/")

_TAG = re.compile(r"<[^<>]{0,2000}>")
# Nine digits, or as they are written: 1234.56.782, 123 456 782, 1234 56 782.
_BSN = re.compile(r"(?<![\w./-])(?:\d{9}|\d{4}[. ]\d{2}[. ]\d{3}|\d{3}[. ]\d{3}[. ]\d{3})(?![\w/-]|\.\d)")
# ISO 13616-1: two letters, two digits, and up to thirty letters and digits, often in groups of four.
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
# "Parketnummer": two digits of the office, six, and two of the year.
_CASE = re.compile(r"(?<![\w/-])\d{2}[/-]\d{6}-\d{2}(?![\w/-])")
# Spaces that don't break a line, as word processors put them into numbers; one of Latin-1 is no UTF-8.
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2007\u202f\ufffd", " "))
_LENGTHS = {"NL": 18, "BE": 16, "DE": 22, "FR": 27, "LU": 20, "GB": 22, "ES": 24, "IT": 27, "PL": 28, "AT": 20, "CH": 21, "IE": 22}


class PersonalNumbers:
    """An Inspector. Charsets do not matter: digits and capitals are ASCII in all that mail is written in."""

    name = "personal"

    def __init__(self) -> None:
        self._known: Remembered[tuple[tuple[str, int], ...]] = Remembered()

    def begin(self) -> None:
        """Keeps nothing from one message to the next."""

    def version(self) -> str:
        return "2"

    def inspect(self, item: Item) -> Iterable[Finding]:
        """One finding for each kind of number, with how many there are: in a text, and in the name of whatever it is."""
        inside = dict(self._inside(item))
        for name, count in (dict(_counts(item.name.translate(_SPACES))) | inside).items():
            yield _finding(name, count, item.path)

    def _inside(self, item: Item) -> tuple[tuple[str, int], ...]:
        if not item.true_type.startswith(SHOWN_TYPES) and not item.declared.startswith(SHOWN_TYPES):
            return ()
        known = self._known.get(item.sha256)
        if known is None:
            known = self._known.put(item.sha256, tuple(_counts(plain_text(item.data[:MOST]))))
        return known


def in_subject(subject: str) -> Iterator[Finding]:
    """The same for the subject, which is part of no item: case numbers stand there most of all."""
    for name, count in _counts(subject.translate(_SPACES)):
        yield _finding(name, count, "")


def _finding(name: str, count: int, part: str) -> Finding:
    return Finding(Kind.PERSONAL, PersonalNumbers.name, name, part, f"{count} different")


def _counts(text: str) -> Iterator[tuple[str, int]]:
    for name, numbers in (("bsn", citizen_numbers(text)), ("iban", ibans(text)), ("case-number", case_numbers(text))):
        count = len(set(numbers))
        if count:
            yield name, count


def plain_text(data: bytes) -> str:
    """What a reader sees of a text, roughly: tags and entities of HTML are gone, so that they can't split a number."""
    text = data.replace(b"\0", b"").decode("utf-8", "replace")  # UTF-16 becomes ASCII that way, where it is ASCII
    if "<" in text:
        text = _TAG.sub("", text)
    return (html.unescape(text) if "&" in text else text).translate(_SPACES)


def citizen_numbers(text: str) -> Iterator[str]:
    """Those that pass the eleven-test of the BSN: 9a + 8b + … + 2h - i is a multiple of eleven."""
    for found in _BSN.finditer(text):
        digits = found.group().replace(".", "").replace(" ", "")
        weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
        if digits != "0" * 9 and sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11 == 0:
            yield digits


def ibans(text: str) -> Iterator[str]:
    """Those whose check digits are right: the number, its first four characters at the end, letters as numbers, is 1 modulo 97."""
    for found in _IBAN.finditer(text):
        number = found.group().replace(" ", "")
        length = _LENGTHS.get(number[:2])
        if length is not None:
            number = number[:length]
        if 15 <= len(number) <= 34 and int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1:
            yield number


def case_numbers(text: str) -> Iterator[str]:
    """By their form alone."""
    return (found.group().replace("/", "-") for found in _CASE.finditer(text))
