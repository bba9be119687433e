"""A policy made ready for deciding: conditions as functions, waivers by the rule that they name, routes as sets."""

from collections import deque
from dataclasses import dataclass
from datetime import date

from relay.decide.conditions import Test, compile_condition
from relay.decide.facts import Facts
from relay.decide.index import Index
from relay.decide.logic import NO, Truth, both, opposite
from relay.decide.named import Named
from relay.model.case import Case, Direction
from relay.model.client import Side
from relay.model.decision import Disposition, Match
from relay.model.effects import NO_EFFECTS
from relay.policy.asked import asked_authentication, asked_first_times, asks_of_recipient
from relay.policy.match import PatternSet
from relay.policy.models import Policy, Rule, Waiver

KEPT = 4  # the policy in force, the one before, and one or two being tried


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """`match` is what it says where it holds; it counts from `since` to `until`, both included. `shared`: in one direction it holds for all
    recipients of a message or for none, so that one answer serves them all."""

    when: Test
    unless: Test | None
    match: Match
    since: date | None
    until: date | None
    shared: bool

    def holds(self, facts: Facts) -> Truth:
        """`when` and not `unless`."""
        if not self.shared:
            return self._asked(facts)
        answers = facts.message.answers[facts.direction]
        found = answers.get(self.match.rule)
        if found is None:
            found = answers[self.match.rule] = self._asked(facts)
        return found

    def _asked(self, facts: Facts) -> Truth:
        found = self.when(facts)
        if self.unless is None or found is NO:
            return found
        return both(found, opposite(self.unless(facts)))

    def counts(self, today: date) -> bool:
        """Whether today is one of its days."""
        return (self.since is None or self.since <= today) and (self.until is None or today <= self.until)


@dataclass(frozen=True, slots=True)
class CompiledWaiver:
    """`until` is the last day on which it counts."""

    name: str
    when: Test
    until: date


class Compiled:
    """All of it; made once for a policy."""

    def __init__(self, policy: Policy) -> None:
        self.named = Named.of(policy)
        self.policy = policy
        self.rules, self.observed = (
            Index([(rule.when, _rule(rule, self.named)) for rule in policy.rules if rule.mode == mode]) for mode in ("enforce", "observe")
        )
        self.waivers: dict[str, list[CompiledWaiver]] = {}
        for waiver in policy.waivers:
            ready = _waiver(waiver, self.named)
            for rule in waiver.rules:
                self.waivers.setdefault(rule, []).append(ready)
        self._routes = tuple((route.name, PatternSet(route.to)) for route in policy.routes)
        self.effects = {rule.name: effects for rule in policy.rules if rule.mode == "enforce" and (effects := rule.effects) != NO_EFFECTS}
        self.asking_tls = tuple(
            _rule(rule, self.named)
            for rule in policy.rules
            if rule.mode == "enforce" and rule.require_tls and rule.disposition is Disposition.DELIVER
        )
        self.asked_first_times = asked_first_times(policy)
        self.asked_authentication = asked_authentication(policy)
        self._rule_routes = {rule.name: rule.route for rule in policy.rules if rule.route is not None}

    def direction(self, case: Case, recipient: str) -> Direction:
        """From where to where. What comes in from outside for elsewhere has been refused at RCPT already (never an open relay)."""
        if case.side == Side.OUTSIDE:
            return Direction.INBOUND
        return Direction.INTERNAL if self.named.ours.covers(recipient) else Direction.OUTBOUND

    def named_routes(self, matches: list[Match]) -> set[str]:
        """The routes that rules among these name."""
        return {self._rule_routes[match.rule] for match in matches if match.rule in self._rule_routes}

    def first_route(self, recipient: str) -> str | None:
        """The first route of the policy that leads to this recipient."""
        return next((name for name, to in self._routes if to.covers(recipient)), None)


def _rule(rule: Rule, named: Named) -> CompiledRule:
    return CompiledRule(
        when=compile_condition(rule.when, named),
        unless=compile_condition(rule.unless, named) if rule.unless is not None else None,
        match=Match(rule.name, Disposition(rule.disposition), rule.because, final=rule.final),
        since=rule.since,
        until=rule.until,
        shared=not any(asks_of_recipient(condition) for condition in (rule.when, rule.unless) if condition is not None),
    )


def _waiver(waiver: Waiver, named: Named) -> CompiledWaiver:
    return CompiledWaiver(waiver.name, compile_condition(waiver.when, named), waiver.until)


_known: deque[Compiled] = deque(maxlen=KEPT)


def compiled(policy: Policy) -> Compiled:
    """The compiled form, remembered for the last few policy objects. The answer depends on the policy only."""
    made = next((known for known in tuple(_known) if known.policy is policy), None)
    if made is None:
        made = Compiled(policy)
        _known.append(made)
    return made
