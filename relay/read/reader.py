"""Strict first; what it refuses goes to the lenient readers, is inspected raw as well, and carries the ambiguity as a finding."""

from collections.abc import Callable
from dataclasses import dataclass

from relay.model.features import Header
from relay.model.finding import Finding, Kind
from relay.read.ambiguity import Ambiguous
from relay.read.facts import header_facts
from relay.read.header import loose_fields
from relay.read.lenient import Unreadable, differ, with_fast_parser, with_stdlib
from relay.read.limits import LimitReached, ReadLimits
from relay.read.part import Leaf
from relay.read.salvage import salvage
from relay.read.strict import read_strictly

INSPECTOR = "reader"


@dataclass(frozen=True, slots=True)
class Result:
    """What is inspected: leaves, and with `raw` the message as a whole, too."""

    header: Header
    leaves: tuple[Leaf, ...]
    findings: tuple[Finding, ...]
    raw: bool


def read(data: bytes, limits: ReadLimits, authserv_id: str) -> Result:
    """Never raises on what a message holds, but for what the process can't bear (memory), which kills the worker."""
    try:
        reading = read_strictly(data, limits)
    except Ambiguous as ambiguous:
        return _leniently(data, limits, authserv_id, ambiguous)
    except LimitReached as limit:
        header = header_facts(loose_fields(data, limits.header_size), _header_size(data), authserv_id)
        return Result(header, tuple(salvage(data, limits)), (Finding(Kind.LIMIT, INSPECTOR, limit.name),), raw=True)
    return Result(header_facts(reading.fields, _header_size(data), authserv_id), tuple(reading.leaves), (), raw=False)


def _header_size(data: bytes) -> int:
    found = data.find(b"\r\n\r\n")
    return found + 4 if found >= 0 else len(data)


def _leniently(data: bytes, limits: ReadLimits, authserv_id: str, ambiguous: Ambiguous) -> Result:
    findings = [Finding(Kind.AMBIGUOUS, INSPECTOR, ambiguous.name, ambiguous.part)]
    readings: list[list[Leaf]] = []
    for reader in (with_stdlib, with_fast_parser):
        leaves = _attempt(reader, data, limits, findings)
        if leaves is not None:
            readings.append(leaves)
    if len(readings) == 2 and differ(*readings):
        findings.append(Finding(Kind.AMBIGUOUS, INSPECTOR, "readers-differ"))
    header = header_facts(loose_fields(data, limits.header_size), _header_size(data), authserv_id)
    return Result(header, tuple(_union([*readings, salvage(data, limits)])), tuple(findings), raw=True)


def _attempt(
    reader: Callable[[bytes, ReadLimits], list[Leaf]], data: bytes, limits: ReadLimits, findings: list[Finding]
) -> list[Leaf] | None:
    try:
        return reader(data, limits)
    except LimitReached as limit:
        findings.append(Finding(Kind.LIMIT, INSPECTOR, limit.name))
    except (
        Unreadable,
        RecursionError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        AssertionError,
    ):
        # The standard reader is known to raise all of these on hostile mail; each means: this reader can't read it.
        findings.append(Finding(Kind.AMBIGUOUS, INSPECTOR, "reader-failed"))
    return None


def _union(readings: list[list[Leaf]]) -> list[Leaf]:
    """Every different content once, under its name and path in the first reading that has it."""
    seen: dict[tuple[str, bytes], Leaf] = {}
    for leaves in readings:
        for leaf in leaves:
            seen.setdefault((leaf.name, leaf.data), leaf)
    return list(seen.values())
