"""What a policy asks of the record before it decides, so that what nobody asks for is not looked up."""

from collections.abc import Iterator

from relay.policy.conditions import Condition
from relay.policy.models import Policy
from relay.policy.possible import children


def asks_for_first_times(policy: Policy) -> bool:
    """Whether any rule or waiver asks who wrote to whom before."""
    return any(
        condition.first_time_recipient is not None or condition.first_time_recipients_today is not None for condition in _all(policy)
    )


def _all(policy: Policy) -> Iterator[Condition]:
    tops = [condition for rule in policy.rules for condition in (rule.when, rule.unless) if condition is not None]
    for condition in (*tops, *(waiver.when for waiver in policy.waivers)):
        yield from _inside(condition)


def _inside(condition: Condition) -> Iterator[Condition]:
    yield condition
    for _, child in children(condition, ()):
        yield from _inside(child)
