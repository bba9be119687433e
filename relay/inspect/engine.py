"""Runs every inspector over every item, opens archives and goes into them, and gathers what was found and who could not answer."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from relay.inspect.archive import NAME as ARCHIVE
from relay.inspect.archive import ArchiveLimits, Budget, open_archive
from relay.inspect.encrypted import encrypted, macro
from relay.inspect.filetype import TypeInspector
from relay.inspect.inner_message import Reader, open_message
from relay.inspect.item import Inspector, Item, Unavailable
from relay.inspect.opening import Opened
from relay.inspect.remembered import Remembered
from relay.inspect.signs import Signs
from relay.model.features import Attachment
from relay.model.finding import Finding, Kind
from relay.model.text import file_name, printable


@dataclass(slots=True)
class Inspected:
    """`unavailable` maps an inspector to why it could not answer."""

    attachments: list[Attachment] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    answered: list[str] = field(default_factory=list)
    versions: list[tuple[str, str]] = field(default_factory=list)


class Engine:
    """`scanners` look at every item, nested ones too; `reader` reads messages inside items. One Engine for each worker process, one
    message at a time. `types` and `signs` may be those of another Engine of the process, or of the one that it was forked from: they hold
    some MB.
    """

    def __init__(
        self,
        scanners: Sequence[Inspector],
        limits: ArchiveLimits,
        reader: Reader | None = None,
        types: TypeInspector | None = None,
        signs: Signs | None = None,
    ) -> None:
        self._type = types or TypeInspector()
        self._signs = signs or Signs()
        self._scanners = [self._type, *scanners]
        self._limits = limits
        self._reader = reader
        self._plain: Remembered[bool] = Remembered()

    def inspect(self, items: Iterable[Item]) -> Inspected:
        """All items of one message."""
        result = Inspected()
        budget = Budget(self._limits)
        for scanner in self._scanners:
            scanner.begin()
        for item in items:
            self._item(item, 0, budget, result)
        for scanner in self._scanners:
            if scanner.name not in result.unavailable:
                self._note_version(scanner, result)
        result.answered += [scanner.name for scanner in self._scanners if scanner.name not in result.unavailable] + [ARCHIVE]
        result.findings = sorted(set(result.findings))
        return result

    def _note_version(self, scanner: Inspector, result: Inspected) -> None:
        try:
            result.versions.append((scanner.name, scanner.version()))
        except Unavailable as error:
            result.unavailable[scanner.name] = str(error)

    def _item(self, item: Item, depth: int, budget: Budget, result: Inspected) -> "_Inside":
        digest = item.sha256
        item = replace(item, true_type=self._type.true_type(item.data, digest), digest=digest)
        for scanner in self._scanners:
            self._scan(scanner, item, result)
        opened, found = self._opened(item, depth, budget)
        result.findings += found
        inside = _Inside(list(opened.names), any(finding.kind is Kind.ENCRYPTED for finding in found))
        for member in opened.items:
            nested = self._item(member, depth + 1, budget, result)
            inside.names += [f"{member.name}/{name}" for name in nested.names]
            inside.locked |= nested.locked
        if depth == 0:
            result.attachments.append(_attachment(item, inside))
        return inside

    def _opened(self, item: Item, depth: int, budget: Budget) -> tuple[Opened, list[Finding]]:
        """What it holds, and what there is to say of that. That a part holds nothing is remembered: it depends on nothing but its octets,
        its path and what it says it is, and costs no budget."""
        known_as = hashlib.sha256(item.digest + repr((item.path, item.name, item.declared)).encode()).digest()
        if self._plain.get(known_as):
            return Opened(item), []
        item = replace(item, signs=self._signs.names(item.data))
        opened = open_archive(item, budget, depth + 1)
        if self._reader is not None:
            open_message(opened, self._reader, budget, depth + 1)
        found = [*encrypted(item), *macro(item, tuple(opened.names)), *opened.findings]
        if depth == 0 and not found and not opened.names and not opened.items:
            self._plain.put(known_as, True)
        return opened, found

    def _scan(self, scanner: Inspector, item: Item, result: Inspected) -> None:
        if scanner.name in result.unavailable:
            return
        try:
            result.findings += scanner.inspect(item)
        except Unavailable as error:
            result.unavailable[scanner.name] = str(error)


@dataclass(slots=True)
class _Inside:
    """What an item holds, at any depth: names of members, and whether something of it is encrypted."""

    names: list[str]
    locked: bool


def _attachment(item: Item, inside: _Inside) -> Attachment:
    return Attachment(
        part=item.path,
        name=file_name(item.name),
        declared=printable(item.declared, 100),
        true_type=item.true_type,
        size=len(item.data),
        sha256=item.sha256.hex(),
        inline=item.inline,
        encrypted=inside.locked,
        members=tuple(inside.names),
    )
