"""Lists: files with one entry a line (addresses, domains, digests). Entries are literal unless they are marked as a pattern.

# a comment
a@b.nl               this address
b.nl                 every address at this domain
pattern: *@*.b.nl    what `*` and `?` cover, over the whole address
0123…ef              a SHA-256 in hex: a list holds either digests or addresses and domains
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate

from relay.model.address import address_key
from relay.policy.base import is_address, is_domain
from relay.policy.match import PatternSet

FOLDER = "lists/"
MARK = "pattern:"
MAX_SHOWN = 20  # problems of one list: a file that is no list at all says so without a million lines
_DIGEST = re.compile(r"[0-9a-f]{64}")
_GLOB = re.compile(r"[^\s@]*@[^\s@]+")


@dataclass(frozen=True, slots=True)
class EntryList:
    """`literal` are address keys and domains, `patterns` the marked ones, `digests` SHA-256 in hex."""

    literal: frozenset[str]
    patterns: tuple[str, ...] = ()
    digests: frozenset[str] = frozenset()


class AddressSet:
    """What a list covers: entries as a set, patterns as one expression."""

    __slots__ = ("_literal", "_patterns")

    def __init__(self, entries: EntryList) -> None:
        self._literal = PatternSet(entries.literal)
        self._patterns = globs(entries.patterns)

    def covers(self, address: str) -> bool:
        """`address` is an address key."""
        return self._literal.covers(address) or (bool(address) and self._patterns.match(address) is not None)


def globs(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns of `*` and `?`; `[` is a character like any other. Nothing at all fits nothing."""
    return re.compile("|".join(translate(pattern.casefold().replace("[", "[[]")) for pattern in patterns) or r"(?!)")


def entries(text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each entry; `#` begins a comment."""
    for number, line in enumerate(text.split("\n"), start=1):
        entry = line.partition("#")[0].strip()
        if entry:
            yield number, entry


def parse(text: str) -> EntryList:
    """What `problems` finds nothing wrong with."""
    literal, patterns, digests = set(), [], set()
    for _, entry in entries(text):
        if entry.startswith(MARK):
            patterns.append(entry.removeprefix(MARK).strip())
        elif _DIGEST.fullmatch(entry):
            digests.add(entry)
        else:
            literal.add(address_key(entry) if "@" in entry else entry)
    return EntryList(frozenset(literal), tuple(patterns), frozenset(digests))


def problems(text: str, where: str) -> list[str]:
    """A line that is no entry would never match, and nobody would know why."""
    found = [(number, wrong) for number, entry in entries(text) if (wrong := _wrong(entry))]
    kinds = {bool(_DIGEST.fullmatch(entry)) for _, entry in entries(text)}
    told = [f"{where}:{number}: {wrong}" for number, wrong in found[:MAX_SHOWN]]
    if len(found) > MAX_SHOWN:
        told.append(f"{where}: {len(found) - MAX_SHOWN} more lines that are no entry")
    if len(kinds) > 1:
        told.append(f"{where}:1: a list holds either digests, or addresses and domains")
    return told


def _wrong(entry: str) -> str:
    if entry.startswith(MARK):
        return "" if _GLOB.fullmatch(entry.removeprefix(MARK).strip()) else "a pattern covers whole addresses, such as 'pattern: *@*.b.nl'"
    if _DIGEST.fullmatch(entry) or is_address(entry):
        return ""
    if "*" in entry or "?" in entry or entry.startswith("."):
        whole = entry if "@" in entry else f"*@{'*' if entry.startswith('.') else ''}{entry}"
        return f"an entry is meant literally; a pattern is marked: '{MARK} {whole}'"
    return "" if is_domain(entry) and "." in entry else "no address, no domain and no SHA-256"
