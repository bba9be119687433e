"""The condition on time of day and day of the week, by the clock of a place, at the moment that a message came in."""

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from relay.decide.facts import Facts
from relay.decide.logic import NO, UNKNOWN, YES, Truth
from relay.policy.models import TimeCondition

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def moment_test(condition: TimeCondition) -> Callable[[Facts], Truth]:
    """The zone is read from the database of zones here, at load, and not when deciding."""
    zone = ZoneInfo(condition.zone)
    first, last = condition.minutes
    days = frozenset(DAYS.index(day) for day in condition.days) if condition.days is not None else frozenset(range(7))

    def test(facts: Facts) -> Truth:
        received_us = facts.message.case.received_us
        if not received_us:
            return UNKNOWN
        local = datetime.fromtimestamp(received_us / 1e6, UTC).astimezone(zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if first < last:
            return YES if first <= minute < last and day in days else NO
        if minute >= first:
            return YES if day in days else NO
        return YES if minute < last and (day - 1) % 7 in days else NO

    return test
