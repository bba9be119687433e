"""What inspection says of a message: findings, and the two kinds of not knowing."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What class of thing was found; rules match on it."""

    MALWARE = "malware"
    RULE = "rule"  # an embedded yara-x rule that is no malware verdict
    TYPE = "type"  # true type contradicts the declared type or the extension
    ARCHIVE = "archive"  # something about the members of an archive
    ENCRYPTED = "encrypted"  # undecidable: nobody could look inside
    AMBIGUOUS = "ambiguous"  # undecidable: two readers could read it in two ways
    LIMIT = "limit"  # undecidable: a limit was met
    CRASH = "crash"  # undecidable: a reader or inspector died on it
    PERSONAL = "personal"  # numbers that are somebody's: citizen service numbers, IBANs, case numbers
    HEADER = "header"  # something about the header: no From, forged Authentication-Results


UNDECIDABLE = frozenset({Kind.ENCRYPTED, Kind.AMBIGUOUS, Kind.LIMIT, Kind.CRASH})
"""An unknown that will not pass: a finding, and at least `quarantine` (a floor that decide enforces)."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing found. `inspector` found it; `name` is its stable name in kebab-case or the scanner's signature name;
    `part` is the path of the part (`1.2`, `1.2/member.zip`), empty for the message; `detail` is printable text for staff."""

    kind: Kind
    inspector: str
    name: str
    part: str = ""
    detail: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What a release is bound to: everything but the free text."""
        return (self.kind.value, self.inspector, self.name, self.part)
