"""The embedded scanner: yara-x rules that ship with Sluis, and those of a folder. The only place that knows yara-x."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yara_x

from relay.inspect.item import Item
from relay.inspect.remembered import Remembered
from relay.model.errors import ConfigurationError
from relay.model.finding import Finding, Kind

SHIPPED = Path(__file__).parent / "rules"
TIMEOUT_SECONDS = 20


class YaraInspector:
    """A rule's metadata says what it means: `kind = "malware"` or `"rule"`, and `description`.

    Each file that ships is a scanner of its own: a few dozen strings are searched for with vector instructions, more of them octet by
    octet. For 5 MB that makes 3 ms of 6.
    """

    name = "yara"

    def __init__(self, folder: Path | None = None) -> None:
        rules = [compile_rules([path]) for path in sorted(SHIPPED.glob("*.yar"))]
        if folder is not None:
            own = compile_rules(sorted(folder.glob("*.yar")))
            _refuse_same_names(own, rules, folder)
            rules.append(own)
        self._scanners = [yara_x.Scanner(one) for one in rules]
        self._known: Remembered[tuple[tuple[Kind, str, str], ...]] = Remembered()

    def begin(self) -> None:
        """Keeps nothing from one message to the next."""

    def version(self) -> str:
        """The engine's version stands in the lock file; the rules' digest would change with every message recorded."""
        return "yara-x"

    def inspect(self, item: Item) -> Iterable[Finding]:
        """A time-out is a limit: undecidable, since the same bytes would time out again. The rules stay the same as long as this object
        lives."""
        digest = item.sha256
        known = self._known.get(digest)
        if known is None:
            try:
                known = self._known.put(digest, tuple(_told(rule) for rule in self._matches(item.data)))
            except yara_x.TimeoutError:
                return [Finding(Kind.LIMIT, self.name, "time", item.path)]
        return [Finding(kind, self.name, name, item.path, description) for kind, name, description in known]

    def _matches(self, data: bytes) -> list[yara_x.Rule]:
        """Raises yara_x.TimeoutError."""
        until = time.monotonic() + TIMEOUT_SECONDS
        matches: list[yara_x.Rule] = []
        for scanner in self._scanners:
            scanner.set_timeout(max(1, math.ceil(until - time.monotonic())))
            matches += scanner.scan(data).matching_rules
        return matches


def _told(rule: yara_x.Rule) -> tuple[Kind, str, str]:
    metadata = dict(rule.metadata)
    kind = Kind.MALWARE if metadata.get("kind") == "malware" else Kind.RULE
    return kind, rule.identifier.replace("_", "-"), str(metadata.get("description", ""))


class OctetSearch:
    """Which of some strings of octets stand anywhere: all of them in one pass."""

    def __init__(self, wanted: Mapping[str, Sequence[bytes]]) -> None:
        """A name for each group of strings, of letters, digits and underscores."""
        compiler = yara_x.Compiler()
        for name, strings in wanted.items():
            patterns = "\n".join(f"${number} = {{ {octets.hex(' ')} }}" for number, octets in enumerate(strings))
            compiler.add_source(f"rule {name} {{ strings: {patterns} condition: any of them }}")
        self._scanner = yara_x.Scanner(compiler.build())
        self._scanner.fast_scan(True)  # one match of each is enough

    def names(self, data: bytes) -> frozenset[str]:
        """The groups of which a string is there."""
        return frozenset(rule.identifier for rule in self._scanner.scan(data).matching_rules)


def compile_rules(files: Iterable[Path]) -> yara_x.Rules:
    """Raises ConfigurationError with the file and what yara-x says of it."""
    compiler = yara_x.Compiler()
    for path in files:
        try:
            compiler.add_source(path.read_text(encoding="utf-8"), origin=str(path))
        except (yara_x.CompileError, OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([f"{path}:1: {error}"]) from None
    return compiler.build()


def _refuse_same_names(own: yara_x.Rules, shipped: Iterable[yara_x.Rules], folder: Path) -> None:
    """A finding of two meanings. Raises ConfigurationError."""
    taken = {rule.identifier for rules in shipped for rule in rules}
    problems = [f"{folder}:1: {rule.identifier} is the name of a rule that ships" for rule in own if rule.identifier in taken]
    if problems:
        raise ConfigurationError(problems)
