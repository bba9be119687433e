"""Where each entry of a policy stands, and each key in it, so that whatever is wrong is told with file and line."""

from dataclasses import dataclass, field

from relay.policy.yaml import Document

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    document: Document
    path: Path


@dataclass(slots=True)
class Places:
    """By the kind of entry (such as `rules`) and its name."""

    _entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)

    def note(self, kind: str, name: str, file: str, document: Document, path: Path) -> str | None:
        """Remembers an entry. Gives where the same name stands already, or None."""
        taken = self.of(kind, name) if (kind, name) in self._entries else None
        self._entries[kind, name] = _Entry(file, document, path)
        return taken

    def of(self, kind: str, name: str, *inside: str | int) -> str:
        """`file:line` of an entry, or of what is `inside` it; of what holds it, where that was left out."""
        entry = self._entries[kind, name]
        return f"{entry.file}:{entry.document.line((*entry.path, *inside))}"

    def shifted(self, lines: int, kind: str, name: str, *inside: str | int) -> str:
        """The same, so many lines further down: inside a text of several lines."""
        file, _, line = self.of(kind, name, *inside).rpartition(":")
        return f"{file}:{int(line) + lines}"
