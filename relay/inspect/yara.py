"""The embedded scanner: yara-x rules that ship with Sluis, and those of a folder. The only place that knows yara-x."""

from collections.abc import Iterable
from pathlib import Path

import yara_x

from relay.inspect.item import Item
from relay.model.errors import ConfigurationError
from relay.model.finding import Finding, Kind

SHIPPED = Path(__file__).parent / "rules"
TIMEOUT_SECONDS = 20


class YaraInspector:
    """A rule's metadata says what it means: `kind = "malware"` or `"rule"`, and `description`."""

    name = "yara"

    def __init__(self, folder: Path | None = None) -> None:
        self._scanner = yara_x.Scanner(compile_rules([SHIPPED, *([folder] if folder else [])]))
        self._scanner.set_timeout(TIMEOUT_SECONDS)

    def begin(self) -> None:
        """Keeps nothing from one message to the next."""

    def version(self) -> str:
        """The engine's version stands in the lock file; the rules' digest would change with every message recorded."""
        return "yara-x"

    def inspect(self, item: Item) -> Iterable[Finding]:
        """A time-out is a limit: undecidable, since the same bytes would time out again."""
        try:
            matches = self._scanner.scan(item.data).matching_rules
        except yara_x.TimeoutError:
            return [Finding(Kind.LIMIT, self.name, "time", item.path)]
        findings = []
        for rule in matches:
            metadata = dict(rule.metadata)
            kind = Kind.MALWARE if metadata.get("kind") == "malware" else Kind.RULE
            findings.append(Finding(kind, self.name, rule.identifier.replace("_", "-"), item.path, str(metadata.get("description", ""))))
        return findings


def compile_rules(folders: list[Path]) -> yara_x.Rules:
    """Raises ConfigurationError with the file and what yara-x says of it."""
    compiler = yara_x.Compiler()
    for folder in folders:
        for path in sorted(folder.glob("*.yar")):
            try:
                compiler.add_source(path.read_text(encoding="utf-8"), origin=str(path))
            except (yara_x.CompileError, OSError, UnicodeDecodeError) as error:
                raise ConfigurationError([f"{path}:1: {error}"]) from None
    return compiler.build()
