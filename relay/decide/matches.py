"""Which rules match for one recipient, and what takes them away: waivers of the policy, a release by staff."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from relay.decide.compiled import Compiled
from relay.decide.facts import Facts
from relay.decide.logic import NO, YES
from relay.decide.standing import Placed
from relay.model.case import Case
from relay.model.decision import Disposition, Epoch, Match, Release
from relay.model.finding import Finding, Kind
from relay.policy import builtin


def builtin_matches(case: Case, epoch: Epoch) -> tuple[Match, ...]:
    """Of the built-in rules; they are the same for all recipients."""
    found = tuple(_on_findings(case.inspection.findings)) if case.inspection is not None and case.inspection.findings else ()
    return (*found, _named(builtin.BRAKE)) if epoch.brake else found


def matches_for(
    facts: Facts, policy: Compiled, always: Iterable[Match], standing: Sequence[Placed], today: date, release: Release | None
) -> list[Match]:
    """All of them, waived ones too, built-in ones (`always`) first."""
    found = [_waive(match, facts, policy, today) for match in (*always, *_spoken(standing, facts.message.may_pass))]
    if all(match.waived_by is not None for match in found):
        found.append(_named(builtin.NO_RULE))
    return found if release is None else _released(found, facts.message.case, release, policy)


def _named(rule: str, detail: str = "") -> Match:
    disposition, final, because = builtin.BUILTIN[rule]
    return Match(rule, disposition, f"{because}: {detail}" if detail else because, final=final)


def _on_findings(findings: tuple[Finding, ...]) -> Iterator[Match]:
    if any(finding.kind is Kind.MALWARE for finding in findings):
        yield _named(builtin.MALWARE)
    for kind, rule in builtin.UNDECIDABLE_RULES.items():
        names = sorted({finding.name for finding in findings if finding.kind is kind})
        if names:
            yield _named(rule, ", ".join(names))
    # What receive says of the header is no opinion of an inspector: none, several or a foreign From, a loop.
    header = sorted({finding.name for finding in findings if finding.kind is Kind.HEADER and finding.inspector == "receive"})
    if header:
        yield _named(builtin.HEADER, ", ".join(header))


def _spoken(standing: Sequence[Placed], may_pass: bool) -> Iterator[Match]:
    """A rule of which it is unknown whether it holds counts where it is strict, and not where it would let pass. The other way round
    where the unknown may pass: then the verdict is `not yet` at the mildest, and decided again when it is known."""
    for _, rule, truth in standing:
        lets_pass = rule.match.disposition is Disposition.DELIVER
        if truth is YES or (lets_pass and may_pass):
            yield rule.match
        elif not lets_pass and not may_pass:
            yield rule.unsure


def observed_for(facts: Facts, policy: Compiled, today: date) -> tuple[Match, ...]:
    """Rules that are only observed, and would have matched, and no waiver would have taken away. What is unknown of them says nothing."""
    holding = [rule.match for _, rule, truth in policy.observed.standing(facts, today) if truth is YES]
    return tuple(match for match in holding if _waive(match, facts, policy, today).waived_by is None) if holding else ()


def _waive(match: Match, facts: Facts, policy: Compiled, today: date) -> Match:
    """A waiver takes away what it surely covers; one that is unknown or past its end takes nothing."""
    if match.final or match.disposition is Disposition.DELIVER:
        return match
    for waiver in policy.waivers.get(match.rule, ()):
        if today <= waiver.until and waiver.when(facts) is YES:
            return replace(match, waived_by=f"waiver {waiver.name}")
    return match


def may_be_waived(match: Match, facts: Facts, policy: Compiled, today: date) -> bool:
    """Whether, with more known, a waiver could come to take it away."""
    if match.final:
        return False
    return any(today <= waiver.until and waiver.when(facts) is not NO for waiver in policy.waivers.get(match.rule, ()))


def _released(matches: list[Match], case: Case, release: Release, policy: Compiled) -> list[Match]:
    """Staff released what they saw. One finding or one rule that they did not see, and nothing is released."""
    standing = [match for match in matches if match.waived_by is None and match.disposition is not Disposition.DELIVER]
    seen = case.inspection is not None and release.covers(case.inspection.findings)
    if not seen or any(match.rule not in release.rules for match in standing if match.rule not in _NO_JUDGMENT):
        return matches
    released = f"release {release.request}"
    return [
        replace(match, waived_by=released) if match in standing and _may_release(match, release, policy) else match for match in matches
    ]


_NO_JUDGMENT = (builtin.BRAKE, builtin.NO_RULE)
"""They say nothing of the message, so there was nothing to see. The brake holds whatever was released, and does not undo it."""


def _may_release(match: Match, release: Release, policy: Compiled) -> bool:
    """A final rule needs a second person; `no-rule` is final for waivers only. What is kept as evidence nobody releases."""
    if match.rule in policy.effects and policy.effects[match.rule].keep:
        return False
    return match.rule != builtin.BRAKE and (release.approved or not match.final or match.rule == builtin.NO_RULE)
