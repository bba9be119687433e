"""A policy made ready for deciding: conditions as functions, waivers by the rule that they name, routes as sets."""

from collections import deque
from dataclasses import dataclass
from datetime import date

from relay.decide.conditions import Test, compile_condition
from relay.decide.facts import Facts
from relay.decide.logic import NO, Truth, both, opposite
from relay.model.case import Case, Direction
from relay.model.client import Side
from relay.model.decision import Disposition, Match
from relay.policy.match import PatternSet
from relay.policy.models import Partner, Policy, Rule, Waiver

KEPT = 4  # the policy in force, the one before, and one or two being tried


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """`match` is what it says where it holds."""

    when: Test
    unless: Test | None
    match: Match
    route: str | None

    def holds(self, facts: Facts) -> Truth:
        """`when` and not `unless`."""
        found = self.when(facts)
        if self.unless is None or found is NO:
            return found
        return both(found, opposite(self.unless(facts)))


@dataclass(frozen=True, slots=True)
class CompiledWaiver:
    """`until` is the last day on which it counts."""

    name: str
    when: Test
    until: date


class Compiled:
    """All of it; made once for a policy."""

    def __init__(self, policy: Policy) -> None:
        partners = policy.organisation.partners
        self.policy = policy
        self.rules = tuple(_rule(rule, partners) for rule in policy.rules)
        self.waivers: dict[str, list[CompiledWaiver]] = {}
        for waiver in policy.waivers:
            ready = _waiver(waiver, partners)
            for rule in waiver.rules:
                self.waivers.setdefault(rule, []).append(ready)
        self._ours = PatternSet(policy.organisation.domains)
        self._routes = tuple((route.name, PatternSet(route.to)) for route in policy.routes)
        self._rule_routes = {rule.name: rule.route for rule in policy.rules if rule.route is not None}

    def direction(self, case: Case, recipient: str) -> Direction:
        """From where to where. What comes in from outside for elsewhere has been refused at RCPT already (never an open relay)."""
        if case.side == Side.OUTSIDE:
            return Direction.INBOUND
        return Direction.INTERNAL if self._ours.covers(recipient) else Direction.OUTBOUND

    def named_routes(self, matches: list[Match]) -> set[str]:
        """The routes that rules among these name."""
        return {self._rule_routes[match.rule] for match in matches if match.rule in self._rule_routes}

    def first_route(self, recipient: str) -> str | None:
        """The first route of the policy that leads to this recipient."""
        return next((name for name, to in self._routes if to.covers(recipient)), None)


def _rule(rule: Rule, partners: tuple[Partner, ...]) -> CompiledRule:
    return CompiledRule(
        when=compile_condition(rule.when, partners),
        unless=compile_condition(rule.unless, partners) if rule.unless is not None else None,
        match=Match(rule.name, Disposition(rule.disposition), rule.because, final=rule.final),
        route=rule.route,
    )


def _waiver(waiver: Waiver, partners: tuple[Partner, ...]) -> CompiledWaiver:
    return CompiledWaiver(waiver.name, compile_condition(waiver.when, partners), waiver.until)


_known: deque[Compiled] = deque(maxlen=KEPT)


def compiled(policy: Policy) -> Compiled:
    """The compiled form, remembered for the last few policy objects. The answer depends on the policy only."""
    made = next((known for known in tuple(_known) if known.policy is policy), None)
    if made is None:
        made = Compiled(policy)
        _known.append(made)
    return made
