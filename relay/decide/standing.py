"""Which rules hold for a recipient, and of which that is not known: asked once for a message where all its recipients share the answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from relay.decide.conditions import Test
from relay.decide.facts import Facts
from relay.decide.index import Index
from relay.decide.logic import NO, Truth
from relay.model.decision import Match
from relay.policy.conditions import Condition


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """`holds` is `when` and not `unless`; `match` is what it says where it holds, `unsure` what it says where that is not known and counts.
    It counts from `since` to `until`, both included. `shared`: in one direction it holds for all recipients of a message or for none, so
    that one answer serves them all."""

    holds: Test
    match: Match
    unsure: Match
    since: date | None
    until: date | None
    shared: bool

    def counts(self, today: date) -> bool:
        """Whether today is one of its days."""
        return (self.since is None or self.since <= today) and (self.until is None or today <= self.until)


Placed = tuple[int, CompiledRule, Truth]
"""A rule that holds, or of which it is not known, with its place in the policy."""


class Rules:
    """Rules with the condition by which each is looked up, in the order of the policy."""

    __slots__ = ("_of_recipient", "_shared")

    def __init__(self, rules: Iterable[tuple[Condition, CompiledRule]]) -> None:
        placed = list(enumerate(rules))
        self._shared, self._of_recipient = (
            Index([(when, (place, rule)) for place, (when, rule) in placed if rule.shared is shared]) for shared in (True, False)
        )

    def standing(self, facts: Facts, today: date) -> list[Placed]:
        """Those that hold or may hold, and count on this day, in their order. What recipients share is asked for the first of them."""
        known, key = facts.message.standing, (self, facts.direction, today)
        shared = known.get(key)
        if shared is None:
            shared = known[key] = _standing(self._shared, facts, today)
        own = _standing(self._of_recipient, facts, today)
        return sorted([*shared, *own], key=_place) if own else shared


def _standing(index: Index[tuple[int, CompiledRule]], facts: Facts, today: date) -> list[Placed]:
    if not index:
        return []
    found: list[Placed] = []
    for place, rule in index.candidates(facts):
        truth = rule.holds(facts)
        if truth is not NO and rule.counts(today):
            found.append((place, rule, truth))
    return found


def _place(placed: Placed) -> int:
    return placed[0]
