"""Rules that name different routes and hold for the same mail, where that can be proved: it would be held, with an alert, every time."""

from collections import Counter
from collections.abc import Hashable, Iterator

from relay.policy.conditions import Condition
from relay.policy.models import Policy
from relay.policy.places import Places
from relay.policy.rules import Rule

Key = tuple[str, Hashable]
ALWAYS: Key = ("always", "")
"""Of a rule that asks for nothing."""
WHOLE = frozenset({"all"})
"""Lists of which every entry must hold: a shorter one asks for less, and is not compared entry by entry."""


def several_routes(policy: Policy, places: Places) -> Iterator[str]:
    """One problem for each rule, as `file:line: what`: with the first other one that it can't stand beside."""
    named = [rule for rule in policy.rules if rule.route is not None and rule.mode == "enforce"]
    milder = _by_key(named)
    against: dict[int, int] = {}
    for place, rule in enumerate(named):
        for other in _others(rule, milder):
            if rule.route != named[other].route and _implies(rule, named[other]):
                first, second = sorted((place, other))
                against[second] = min(first, against.get(second, first))
    for second, first in sorted(against.items()):
        rule, other_rule = named[second], named[first]
        where = places.of("rules", other_rule.name)
        yield f"{places.of('rules', rule.name, 'route')}: '{other_rule.name}' names another route for the same mail, at {where}"


def _by_key(named: list[Rule]) -> dict[Key, list[int]]:
    """Each rule under the values of that key of its condition which the fewest others ask for, so that thousands of rules are not compared
    in pairs."""
    asked = [_keys(rule.when) for rule in named]
    often = Counter(key for keys in asked for values in keys.values() for key in values)
    found: dict[Key, list[int]] = {}
    for place, keys in enumerate(asked):
        rarest = min(keys.values(), key=lambda values: sum(often[key] for key in values), default=[ALWAYS])
        for key in rarest:
            found.setdefault(key, []).append(place)
    return found


def _keys(condition: Condition) -> dict[str, list[Key]]:
    """What it asks for, by key: each entry of a list, or the value."""
    given = {name: getattr(condition, name) for name in Condition.model_fields}
    return {name: [(name, one) for one in _entries(name, value)] for name, value in given.items() if value is not None}


def _entries(name: str, value: Hashable) -> tuple[Hashable, ...]:
    return tuple(dict.fromkeys(value)) if isinstance(value, tuple) and name not in WHOLE else (value,)


def _others(rule: Rule, milder: dict[Key, list[int]]) -> Iterator[int]:
    """Those that this rule may imply: what such a one asks for, this rule asks for too, with all its entries; the first will do."""
    for keys in ({"": [ALWAYS]} | _keys(rule.when)).values():
        if keys:
            yield from milder.get(keys[0], ())


def _implies(rule: Rule, other: Rule) -> bool:
    """Whether the other surely holds where this one does: it asks for nothing more. Dates may keep them apart."""
    if (rule.since, rule.until) != (other.since, other.until) or other.unless not in (None, rule.unless):
        return False
    for name in Condition.model_fields:
        asked, given = getattr(other.when, name), getattr(rule.when, name)
        if asked is None or asked == given:
            continue
        if not isinstance(asked, tuple) or not isinstance(given, tuple) or name in WHOLE or not set(given) <= set(asked):
            return False
    return True
