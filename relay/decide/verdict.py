"""The decision itself, recipient by recipient: which rules match, what takes them away, what is left, and over which route it goes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date

from relay.decide.conditions import direction_of, holds
from relay.decide.logic import Truth, every, opposite
from relay.model.case import Case, Direction
from relay.model.decision import Decision, Disposition, Epoch, Match, Release, Verdict
from relay.model.finding import UNDECIDABLE, Kind
from relay.policy import builtin
from relay.policy.match import pattern_matches
from relay.policy.models import Policy, Rule, Waiver

NO_RULE = "no-rule"
NO_ROUTE = "no-route"
SEVERAL_ROUTES = "several-routes"


def decide(case: Case, policy: Policy, epoch: Epoch, today: date, releases: Mapping[int, Release] | None = None) -> Decision:
    """After DATA, on everything. `releases` by index of the recipient. Reaches no disk, network, clock or database."""
    given = releases or {}
    verdicts = tuple(
        _verdict(case, recipient.mailbox.key, policy, epoch, today, given.get(index)) for index, recipient in enumerate(case.recipients)
    )
    return Decision(epoch, verdicts)


def decide_at_rcpt(case: Case, policy: Policy, epoch: Epoch, today: date) -> Verdict | None:
    """At RCPT, on the envelope: a REJECT that no content can make milder, or None. A waiver that may come to hold speaks against it."""
    address = case.recipients[0].mailbox.key
    direction = direction_of(case, address, policy)
    certain = [
        _match(rule)
        for rule in policy.rules
        if rule.disposition is Disposition.REJECT
        and _rule_holds(rule, case, address, direction, epoch, policy) is Truth.YES
        and (rule.final or not any(_waiver_may_hold(w, rule, case, address, direction, epoch, policy, today) for w in policy.waivers))
    ]
    if not certain:
        return None
    return Verdict(Disposition.REJECT, tuple(certain), because=certain[0].because)


def _verdict(case: Case, address: str, policy: Policy, epoch: Epoch, today: date, release: Release | None) -> Verdict:
    direction = direction_of(case, address, policy)
    matches = [*_builtin_matches(case, epoch), *_rule_matches(case, address, direction, policy, epoch)]
    matches = _waived(matches, case, address, direction, policy, epoch, today)
    if release is not None:
        matches = _released(matches, case, release)
    standing = [match for match in matches if match.waived_by is None]
    if not matches:
        return Verdict(Disposition.HOLD, because="no rule covers this case", alert=NO_RULE)
    strictest = max((match.disposition for match in standing), default=Disposition.DELIVER)
    because = next((match.because for match in standing if match.disposition is strictest), "every rule was waived")
    if strictest is not Disposition.DELIVER:
        return Verdict(strictest, tuple(matches), because=because)
    return _deliver(case, address, direction, policy, tuple(matches), because)


def _deliver(case: Case, address: str, direction: Direction, policy: Policy, matches: tuple[Match, ...], because: str) -> Verdict:
    """The route; and `not yet`, where an inspector that must answer did not."""
    named = {name for match in matches if match.waived_by is None and (name := _route_of(match.rule, policy))}
    if len(named) > 1:
        text = f"rules name different routes: {', '.join(sorted(named))}"
        return Verdict(Disposition.HOLD, matches, because=text, alert=SEVERAL_ROUTES)
    route = next(iter(named), None) or next(
        (route.name for route in policy.routes if any(pattern_matches(pattern, address) for pattern in route.to)), None
    )
    if route is None:
        return Verdict(Disposition.HOLD, matches, because="no route leads to this recipient", alert=NO_ROUTE)
    missing = _missing_inspectors(case, direction, policy)
    if missing:
        return Verdict(Disposition.DELIVER, matches, deferred=True, because=f"no answer from {', '.join(missing)}", route=route)
    return Verdict(Disposition.DELIVER, matches, because=because, route=route)


def _route_of(rule_name: str, policy: Policy) -> str | None:
    return next((rule.route for rule in policy.rules if rule.name == rule_name), None)


def _missing_inspectors(case: Case, direction: Direction, policy: Policy) -> list[str]:
    """Required and silent. Without an inspection at all, every one is silent."""
    required: tuple[str, ...] = getattr(policy.inspection, direction.value)
    answered = case.inspection.answered if case.inspection else ()
    unavailable = case.inspection.unavailable if case.inspection else ()
    return [name for name in required if name not in answered or name in unavailable]


def _builtin_matches(case: Case, epoch: Epoch) -> Iterator[Match]:
    findings = case.inspection.findings if case.inspection else ()
    if any(finding.kind is Kind.MALWARE for finding in findings):
        yield Match(builtin.MALWARE, Disposition.QUARANTINE, "malware was found", final=True)
    undecidable = sorted({finding.name for finding in findings if finding.kind in UNDECIDABLE})
    if undecidable:
        yield Match(builtin.UNDECIDABLE, Disposition.QUARANTINE, f"could not be inspected whole: {', '.join(undecidable)}")
    header = sorted({finding.name for finding in findings if finding.kind is Kind.HEADER and finding.inspector == "receive"})
    if header:
        yield Match(builtin.HEADER, Disposition.REJECT, f"the header is not acceptable: {', '.join(header)}")
    if epoch.brake:
        yield Match(builtin.BRAKE, Disposition.HOLD, "the brake is on: nothing leaves", final=True)


def _rule_matches(case: Case, address: str, direction: Direction, policy: Policy, epoch: Epoch) -> Iterator[Match]:
    """A rule whose condition is unknown counts where it is strict, and not where it would let pass."""
    for rule in policy.rules:
        found = _rule_holds(rule, case, address, direction, epoch, policy)
        if found is Truth.YES or (found is Truth.UNKNOWN and rule.disposition is not Disposition.DELIVER):
            yield _match(rule)


def _match(rule: Rule) -> Match:
    return Match(rule.name, rule.disposition, rule.because, final=rule.final)


def _rule_holds(rule: Rule, case: Case, address: str, direction: Direction, epoch: Epoch, policy: Policy) -> Truth:
    when = holds(rule.when, case, address, direction, epoch.phase, policy)
    if rule.unless is None or when is Truth.NO:
        return when
    return every((when, opposite(holds(rule.unless, case, address, direction, epoch.phase, policy))))


def _waived(matches: list[Match], case: Case, address: str, direction: Direction, policy: Policy, epoch: Epoch, today: date) -> list[Match]:
    """Takes away what a waiver surely covers; a waiver that is unknown or past its end takes nothing."""
    active = [
        waiver
        for waiver in policy.waivers
        if today <= waiver.until and holds(waiver.when, case, address, direction, epoch.phase, policy) is Truth.YES
    ]
    return [
        match
        if match.final or match.disposition is Disposition.DELIVER
        else replace(match, waived_by=next((f"waiver {waiver.name}" for waiver in active if match.rule in waiver.rules), None))
        for match in matches
    ]


def _waiver_may_hold(
    waiver: Waiver, rule: Rule, case: Case, address: str, direction: Direction, epoch: Epoch, policy: Policy, today: date
) -> bool:
    if rule.name not in waiver.rules or today > waiver.until:
        return False
    return holds(waiver.when, case, address, direction, epoch.phase, policy) is not Truth.NO


def _released(matches: list[Match], case: Case, release: Release) -> list[Match]:
    """A staff release is bound to what was seen: a new finding, and nothing is released; a new rule, and that rule stands."""
    findings = case.inspection.findings if case.inspection else ()
    if case.inspection is None or not release.covers(findings):
        return matches
    return [
        replace(match, waived_by=f"release {release.request}") if match.waived_by is None and _may_release(match, release) else match
        for match in matches
    ]


def _may_release(match: Match, release: Release) -> bool:
    if match.disposition is Disposition.DELIVER or match.rule == builtin.BRAKE or match.rule not in release.rules:
        return False
    return release.approved or not match.final
