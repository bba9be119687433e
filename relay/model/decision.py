"""What decide says: one disposition for each recipient, valid for one epoch."""

from dataclasses import dataclass
from enum import IntEnum

from relay.model.effects import NO_EFFECTS, Effects
from relay.model.finding import Finding


class Disposition(IntEnum):
    """Ordered by strictness."""

    DELIVER = 0
    HOLD = 1
    QUARANTINE = 2
    REJECT = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a decision is valid for. `policy` is the SHA-256 of the policy in hex; `brake` says that nothing may leave."""

    policy: str
    phase: str
    brake: bool = False

    def __str__(self) -> str:
        return f"{self.policy[:16]}/{self.phase}{'/brake' if self.brake else ''}"


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that matched; `waived_by` names the waiver or release that took it away."""

    rule: str
    disposition: Disposition
    because: str
    final: bool = False
    waived_by: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """For one recipient. `deferred` turns `deliver` into `not yet` and changes nothing else. `route` is set where the disposition is
    deliver. `observed` are rules that would have matched if they were in force; they change nothing. `effects` are those of all rules
    that matched and were not waived by the policy, whatever the disposition.
    """

    disposition: Disposition
    matches: tuple[Match, ...] = ()
    deferred: bool = False
    because: str = ""
    route: str | None = None
    alert: str | None = None
    observed: tuple[Match, ...] = ()
    effects: Effects = NO_EFFECTS

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules that carry the disposition."""
        return tuple(match.rule for match in self.matches if match.waived_by is None and match.disposition == self.disposition)


@dataclass(frozen=True, slots=True)
class Release:
    """A one-message waiver by staff, for one recipient: it waives every rule that is not new. `findings` are the identities that were seen;
    `rules` the rules that were seen. A finding or rule outside them stops the message again. `approved` says that a second person
    confirmed, without which a final rule is not waived."""

    request: str
    findings: frozenset[tuple[str, str, str, str]]
    rules: frozenset[str]
    approved: bool

    def covers(self, findings: tuple[Finding, ...]) -> bool:
        """Whether all findings were seen by whoever released."""
        return all(finding.identity in self.findings for finding in findings)


@dataclass(frozen=True, slots=True)
class Decision:
    """One verdict for each recipient, in the order of the envelope. `decided_us` is the moment whose date counted (microseconds since 1970
    UTC; 0 is not known)."""

    epoch: Epoch
    verdicts: tuple[Verdict, ...]
    decided_us: int = 0
