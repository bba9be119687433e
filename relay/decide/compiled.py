"""A policy made ready for deciding: conditions as functions, waivers by the rule that they name, routes as sets."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from relay.decide.conditions import Test, compile_condition
from relay.decide.facts import Facts
from relay.decide.logic import NO, Truth, both, opposite
from relay.decide.named import Named
from relay.decide.standing import CompiledRule, Rules
from relay.model.case import Case, Direction
from relay.model.client import Side
from relay.model.decision import Disposition, Match
from relay.model.effects import NO_EFFECTS
from relay.policy.asked import asked_authentication, asked_day_count, asked_first_times, asks_of_recipient
from relay.policy.match import PatternSet
from relay.policy.models import Policy, Rule, Waiver

KEPT = 4  # the policy in force, the one before, and one or two being tried


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
        every = [(rule, _rule(rule, self.named)) for rule in policy.rules]
        enforced = [(rule, made) for rule, made in every if rule.mode == "enforce"]
        self.rules = _indexed(enforced)
        self.observed = _indexed((rule, made) for rule, made in every if rule.mode == "observe")
        self.refusing = _indexed((rule, made) for rule, made in enforced if made.match.disposition is Disposition.REJECT)
        self.keeping = _indexed((rule, made) for rule, made in enforced if rule.keep)
        self.waivers: dict[str, list[CompiledWaiver]] = {}
        for waiver in policy.waivers:
            ready = _waiver(waiver, self.named)
            for rule in waiver.rules:
                self.waivers.setdefault(rule, []).append(ready)
        self._routes = tuple((route.name, PatternSet(route.to)) for route in policy.routes)
        self.effects = {rule.name: effects for rule, _ in enforced if (effects := rule.effects) != NO_EFFECTS}
        self.asking_tls = frozenset(rule.name for rule, _ in enforced if rule.require_tls and rule.disposition is Disposition.DELIVER)
        self.asked_first_times = asked_first_times(policy)
        self.asked_day_count = asked_day_count(policy)
        self.asked_authentication = asked_authentication(policy)
        self._rule_routes = {rule.name: rule.route for rule in policy.rules if rule.route is not None}

    def direction(self, case: Case, recipient: str) -> Direction:
        """From where to where. What comes in from outside for elsewhere has been refused at RCPT already (never an open relay)."""
        if case.side == Side.OUTSIDE:
            return Direction.INBOUND
        return Direction.INTERNAL if self.named.ours.covers(recipient) else Direction.OUTBOUND

    def named_routes(self, matches: Iterable[Match]) -> set[str]:
        """The routes that rules among these name."""
        if not self._rule_routes:
            return set()
        return {self._rule_routes[match.rule] for match in matches if match.rule in self._rule_routes}

    def first_route(self, recipient: str) -> str | None:
        """The first route of the policy that leads to this recipient."""
        return next((name for name, to in self._routes if to.covers(recipient)), None)


def _indexed(rules: Iterable[tuple[Rule, CompiledRule]]) -> Rules:
    return Rules((rule.when, made) for rule, made in rules)


def _rule(rule: Rule, named: Named) -> CompiledRule:
    match = Match(rule.name, Disposition(rule.disposition), rule.because, final=rule.final)
    return CompiledRule(
        holds=_holds(rule, named),
        match=match,
        unsure=_unsure(match),
        since=rule.since,
        until=rule.until,
        shared=not any(asks_of_recipient(condition) for condition in (rule.when, rule.unless) if condition is not None),
    )


def _holds(rule: Rule, named: Named) -> Test:
    when = compile_condition(rule.when, named)
    if rule.unless is None:
        return when
    unless = compile_condition(rule.unless, named)

    def holds(facts: Facts) -> Truth:
        found = when(facts)
        return found if found is NO else both(found, opposite(unless(facts)))

    return holds


def _unsure(match: Match) -> Match:
    """A refusal can't be taken back, so it rests on what is known; what is unknown waits for a person."""
    because = f"{match.because} (unknown: not everything could be read)"
    return replace(match, disposition=min(match.disposition, Disposition.QUARANTINE), because=because)


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
