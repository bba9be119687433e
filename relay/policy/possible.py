"""Whether a condition can hold at all: ranges that are empty, words that exclude each other, cases that no direction knows.

What is refused here is what can be proved. A condition that could hold and never does is seen by `sluis policy test` and in the metrics.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from relay.model.client import Side
from relay.policy.base import LIST
from relay.policy.conditions import Condition
from relay.policy.match import PatternSet
from relay.policy.models import Policy
from relay.policy.places import Path

DIRECTIONS = frozenset({"outbound", "inbound", "internal"})
ONE_OF = ("direction", "client", "phase", "null_sender", "authorised", "tls")
"""Of these a case has one value: two conditions that must both hold, and share none, exclude each other."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong, and where inside the entry."""

    inside: Path
    what: str


def impossible(condition: Condition, policy: Policy, inside: Path) -> Iterator[Wrong]:
    """Every reason why the condition, or one in it, can't hold."""
    yield from (
        list(_empty(condition, inside)) or list(_excluded(condition, inside)) or list(_no_direction(condition, policy, inside))
    )  # the first kind that there is: the others follow from it
    for path, child in children(condition, inside):
        yield from impossible(child, policy, path)


def children(condition: Condition, inside: Path) -> Iterator[tuple[Path, Condition]]:
    """The conditions in it, each with its path."""
    for key, several in (("any", condition.any), ("all", condition.all)):
        yield from (((*inside, key, index), child) for index, child in enumerate(several or ()))
    if condition.not_ is not None:
        yield (*inside, "not"), condition.not_


def _empty(shape: BaseModel, inside: Path) -> Iterator[Wrong]:
    """In a condition, and in the tables of attachment, header and time in it."""
    for name, field in type(shape).model_fields.items():
        value = getattr(shape, name)
        if value == ():
            yield Wrong((*inside, field.alias or name), f"'{field.alias or name}' is an empty list: name something, or leave the key out")
        elif isinstance(value, BaseModel) and not isinstance(value, Condition):
            yield from _empty(value, (*inside, field.alias or name))
    low, high = getattr(shape, "larger_than", None), getattr(shape, "smaller_than", None)
    if low is not None and high is not None and low + 1 >= high:
        yield Wrong((*inside, "larger_than"), f"nothing is larger than {low} and smaller than {high}")
    minutes = getattr(shape, "minutes", None)
    if minutes is not None and minutes[0] == minutes[1]:
        yield Wrong((*inside, "from"), "no moment lies between a time and the same time")


def _together(condition: Condition) -> Iterator[Condition]:
    """What must hold at once: the condition, and what is under `all` in it."""
    yield condition
    for child in condition.all or ():
        yield from _together(child)


def _excluded(condition: Condition, inside: Path) -> Iterator[Wrong]:
    parts = list(_together(condition))
    for key in ONE_OF:
        wanted = [_as_set(value) for part in parts if (value := getattr(part, key)) is not None]
        if len(wanted) > 1 and not frozenset.intersection(*wanted):
            words = " and ".join("[" + ", ".join(sorted(map(_word, one))) + "]" for one in wanted)
            yield Wrong(inside, f"'{key}' can't be {words} at once")
    if any(part.null_sender for part in parts) and any(part.sender is not None for part in parts):
        yield Wrong(inside, "no pattern of 'sender' covers the empty reverse-path, which 'null_sender: true' asks for")


def _as_set(value: object) -> frozenset[object]:
    return frozenset(value) if isinstance(value, tuple) else frozenset((value,))


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _no_direction(condition: Condition, policy: Policy, inside: Path) -> Iterator[Wrong]:
    parts = list(_together(condition))
    reasons: list[str] = []
    left = DIRECTIONS
    for part in parts:
        for possible, reason in _directions(part, policy):
            if not possible >= left:
                left &= possible
                reasons.append(reason)
    if not left and len(reasons) > 1:
        yield Wrong(inside, f"no direction meets this: {', '.join(reasons)}")


def _directions(condition: Condition, policy: Policy) -> Iterator[tuple[frozenset[str], str]]:
    """Which directions a key leaves, and why."""
    if condition.direction is not None:
        yield frozenset(condition.direction), f"direction is {', '.join(condition.direction)}"
    if condition.authorised:
        yield frozenset({"outbound", "internal"}), "nobody outside is authorised"
    if condition.authentication is not None:
        yield frozenset({"inbound"}), "only mail from outside is authenticated"
    if condition.client is not None:
        sides = {client.name: client.side for client in policy.clients} | {"sluis": Side.INSIDE}
        named = {sides[name] for name in condition.client if name in sides}
        if len(named) == 1:
            only = frozenset({"inbound"}) if named == {Side.OUTSIDE} else frozenset({"outbound", "internal"})
            yield only, f"the client is {named.pop().value}"
    yield from _of_recipients(condition.recipient, policy)


def _of_recipients(patterns: Iterable[str] | None, policy: Policy) -> Iterator[tuple[frozenset[str], str]]:
    """Addresses and domains to the letter: they are ours or they are not."""
    literal = list(patterns or ())
    if not literal or any(pattern == "*" or pattern.startswith((".", LIST)) for pattern in literal):
        return
    ours = PatternSet(policy.organisation.domains)
    found = {ours.covers(pattern if "@" in pattern else f"x@{pattern}") for pattern in literal}
    if found == {True}:
        yield frozenset({"inbound", "internal"}), "the recipient is ours"
    elif found == {False}:
        yield frozenset({"outbound"}), "the recipient is not ours"
