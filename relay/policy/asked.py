"""What a policy asks of the record before it decides, so that what nobody asks for is not looked up."""

from collections.abc import Iterator

from relay.policy.conditions import Condition
from relay.policy.models import Policy
from relay.policy.possible import DIRECTIONS, children


def asked_first_times(policy: Policy) -> frozenset[str]:
    """The directions for which a rule or waiver may ask who wrote to whom before."""
    asking = [when for when, conditions in _all(policy) if any(map(_asks, conditions))]
    return frozenset(direction for when in asking for direction in when.direction or DIRECTIONS)


def _asks(condition: Condition) -> bool:
    return any(one.first_time_recipient is not None or one.first_time_recipients_today is not None for one in _inside(condition))


def _all(policy: Policy) -> Iterator[tuple[Condition, tuple[Condition, ...]]]:
    """What must hold of each rule and waiver, and all that it asks."""
    for rule in policy.rules:
        yield rule.when, (rule.when,) if rule.unless is None else (rule.when, rule.unless)
    for waiver in policy.waivers:
        yield waiver.when, (waiver.when,)


def _inside(condition: Condition) -> Iterator[Condition]:
    yield condition
    for _, child in children(condition, ()):
        yield from _inside(child)
