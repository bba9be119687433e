"""What a policy asks of the record before it decides, so that what nobody asks for is not looked up."""

import re
from collections.abc import Iterator

from pydantic import BaseModel

from relay.policy.conditions import Condition
from relay.policy.models import Policy
from relay.policy.possible import DIRECTIONS, children
from relay.policy.vocabulary import DAY_COUNT, OF_AUTHENTICATION, OF_FIRST_TIMES, VARIABLES

_OF_RECIPIENT = frozenset(name for name, variable in VARIABLES.items() if variable.recipient)
_WORD = re.compile(r"[A-Za-z_]\w*")


def asked_first_times(policy: Policy) -> frozenset[str]:
    """The directions for which a rule or waiver may ask who wrote to whom before."""
    asking = [when for when, conditions in _all(policy) if any(map(_asks, conditions))]
    return frozenset(direction for when in asking for direction in when.direction or DIRECTIONS)


def asked_day_count(policy: Policy) -> bool:
    """Whether a rule or waiver may ask for the day's number of first-time recipients of a message that has none: a condition that asks for
    it beside `first_time_recipient: true` does not hold of such a message, whatever the number."""
    return any(_counts(one) for _, conditions in _all(policy) for condition in conditions for one in _inside(condition))


def asked_authentication(policy: Policy) -> bool:
    """Whether a rule or waiver may ask of mail from outside who really sent it."""
    return any("inbound" in (when.direction or DIRECTIONS) and any(map(_authenticates, conditions)) for when, conditions in _all(policy))


def mentioned_in_expressions(policy: Policy) -> frozenset[str]:
    """Every word in every `if:`, names of fields among them."""
    inside = (one for _, conditions in _all(policy) for condition in conditions for one in _inside(condition))
    return frozenset(word for one in inside if one.if_ is not None for word in _WORD.findall(one.if_))


def _asks(condition: Condition) -> bool:
    return any(
        one.first_time_recipient is not None
        or one.first_time_recipients_today is not None
        or (one.if_ is not None and not OF_FIRST_TIMES.isdisjoint(_WORD.findall(one.if_)))
        for one in _inside(condition)
    )


def _counts(one: Condition) -> bool:
    if one.if_ is not None and DAY_COUNT in _WORD.findall(one.if_):
        return True
    return one.first_time_recipients_today is not None and one.first_time_recipient is not True


def _authenticates(condition: Condition) -> bool:
    return any(
        one.authentication is not None or (one.if_ is not None and not OF_AUTHENTICATION.isdisjoint(_WORD.findall(one.if_)))
        for one in _inside(condition)
    )


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


OF_MESSAGE = frozenset(
    {
        "direction", "client", "phase", "sender", "header_from", "null_sender", "authorised", "tls", "larger_than", "smaller_than",
        "recipients_more_than", "first_time_recipients_today", "authentication", "finding", "finding_name", "attachment", "header",
        "subject_contains", "time", "if_", "any", "all", "not_",
    }
)  # fmt: skip
"""Keys whose answer all recipients of a message in one direction share; of `header` and `if` it depends on what they ask. A key that does
not stand here is asked for each recipient: a new one that is forgotten costs time, and gives nobody the answer of another."""
HEADER_OF_MESSAGE = frozenset(
    {"display_name", "imitates_us", "recipients", "automatic", "list_mail", "received_more_than", "message_id"}
)  # fmt: skip


def asks_of_recipient(condition: Condition) -> bool:
    """Whether the answer may differ between two recipients of a message in one direction."""
    return any(
        not _given(one) <= OF_MESSAGE
        or (one.header is not None and not _given(one.header) <= HEADER_OF_MESSAGE)
        or (one.if_ is not None and not _OF_RECIPIENT.isdisjoint(_WORD.findall(one.if_)))
        for one in _inside(condition)
    )


def _given(shape: BaseModel) -> set[str]:
    return {name for name in type(shape).model_fields if getattr(shape, name) is not None}
