"""Which of many rules could hold at all: looked up by what they ask for, so that a policy of thousands costs no more than one of dozens.

A rule that is left out surely does not hold. What is not known leaves no rule out.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from relay.decide.facts import Facts
from relay.model.address import address_key, domain_key
from relay.policy.base import LIST
from relay.policy.models import Condition

Item = TypeVar("Item")
ALWAYS = ("always", "")
"""Asks for nothing that could be looked up."""

Key = tuple[str, str]


class Index(Generic[Item]):
    """`items` with the condition of each; `candidates` keeps their order."""

    def __init__(self, items: Sequence[tuple[Condition, Item]]) -> None:
        self._items = tuple(item for _, item in items)
        self._places: dict[str, dict[str, list[int]]] = {}
        for place, (condition, _) in enumerate(items):
            for kind, value in _keys(condition):
                self._places.setdefault(kind, {}).setdefault(value, []).append(place)

    def candidates(self, facts: Facts) -> Iterator[Item]:
        """Those that may hold for this recipient."""
        found: set[int] = set()
        for kind, by_value in self._places.items():
            values = _values(kind, facts)
            if values is None:
                found.update(place for places in by_value.values() for place in places)
            else:
                for value in values:
                    found.update(by_value.get(value, ()))
        return (self._items[place] for place in sorted(found))


def _keys(condition: Condition) -> Iterable[Key]:
    """By one thing that must be so, the rarest first; a condition under `all` must hold as well."""
    return next((keys for part in (condition, *(condition.all or ())) if (keys := _telling(part))), None) or _coarse(condition) or (ALWAYS,)


def _of_any(branches: tuple[Condition, ...] | None) -> list[Key]:
    """One of them must hold: the keys of all, where each of them has some."""
    found = [_telling(branch) for branch in branches or ()]
    return [key for keys in found for key in keys] if found and all(found) else []


def _telling(condition: Condition) -> list[Key]:
    attachment = condition.attachment
    if attachment is not None and attachment.extensions is not None:
        return [("extension", extension.casefold()) for extension in attachment.extensions]
    if condition.finding_name is not None:
        return [("finding", name) for name in condition.finding_name]
    for kind in ("sender", "recipient", "header_from"):
        patterns = getattr(condition, kind)
        if patterns is not None and all(pattern != "*" and not pattern.startswith(LIST) for pattern in patterns):
            return [(kind, _pattern(pattern)) for pattern in patterns]
    return _of_any(condition.any)


def _pattern(pattern: str) -> str:
    if pattern.startswith("."):
        return f".{domain_key(pattern[1:])}"
    return address_key(pattern) if "@" in pattern else domain_key(pattern)


def _coarse(condition: Condition) -> list[Key]:
    if condition.finding is not None:
        return [("kind", kind.value) for kind in condition.finding]
    for kind in ("phase", "direction", "client"):
        values = getattr(condition, kind)
        if values is not None:
            return [(kind, value) for value in values]
    return []


def _values(kind: str, facts: Facts) -> Iterable[str] | None:
    """What is there to look up by; None is not known."""
    message = facts.message
    match kind:
        case "always":
            return ("",)
        case "extension":
            return message.extensions
        case "finding":
            return message.names if message.header is not None else None
        case "kind":
            return [found.value for found in message.kinds] if message.header is not None else None
        case "sender":
            return _address(message.case.sender)
        case "recipient":
            return _address(facts.recipient)
        case "header_from":
            header = message.header
            return None if header is None else [value for address in header.from_addresses for value in _address(address)]
        case "phase":
            return (message.phase,)
        case "direction":
            return (facts.direction.value,)
    return (message.case.client,)


def _address(key: str) -> list[str]:
    """The address, its domain, and each domain above that with a dot in front."""
    domain = key.rpartition("@")[2]
    found, at = [key, domain], domain.find(".")
    while at >= 0:
        found.append(domain[at:])
        at = domain.find(".", at + 1)
    return found
