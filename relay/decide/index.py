"""Which of many rules could hold at all: looked up by what they ask for, so that a policy of thousands costs no more than one of dozens.

A rule that is left out surely does not hold. What is not known leaves no rule out.
"""

from collections.abc import Callable, Iterable, Sequence
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

    __slots__ = ("_always", "_by_kind", "_items")

    def __init__(self, items: Sequence[tuple[Condition, Item]]) -> None:
        self._items = tuple(item for _, item in items)
        places: dict[str, dict[str, list[int]]] = {}
        for place, (condition, _) in enumerate(items):
            for kind, value in _keys(condition):
                places.setdefault(kind, {}).setdefault(value, []).append(place)
        self._always = tuple(places.pop(ALWAYS[0], {}).get(ALWAYS[1], ()))
        self._by_kind = tuple((_VALUES[kind], by_value) for kind, by_value in places.items())

    def __len__(self) -> int:
        return len(self._items)

    def candidates(self, facts: Facts) -> Iterable[Item]:
        """Those that may hold for this recipient."""
        found = set(self._always)
        for values_of, by_value in self._by_kind:
            values = values_of(facts)
            if values is None:
                found.update(*by_value.values())
            else:
                for value in values:
                    if value in by_value:
                        found.update(by_value[value])
        return map(self._items.__getitem__, sorted(found))


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


def _address(key: str) -> list[str]:
    """The address, its domain, and each domain above that with a dot in front."""
    domain = key.rpartition("@")[2]
    found, at = [key, domain], domain.find(".")
    while at >= 0:
        found.append(domain[at:])
        at = domain.find(".", at + 1)
    return found


def _header_from(facts: Facts) -> list[str] | None:
    header = facts.message.header
    return None if header is None else [value for address in header.from_addresses for value in _address(address)]


_VALUES: dict[str, Callable[[Facts], Iterable[str] | None]] = {
    "extension": lambda facts: facts.message.extensions,
    "finding": lambda facts: facts.message.names if facts.message.header is not None else None,
    "kind": lambda facts: facts.message.kinds if facts.message.header is not None else None,
    "sender": lambda facts: _address(facts.message.case.sender),
    "recipient": lambda facts: _address(facts.recipient),
    "header_from": _header_from,
    "phase": lambda facts: (facts.message.phase,),
    "direction": lambda facts: (facts.direction,),
    "client": lambda facts: (facts.message.case.client,),
}
"""What is there to look up by; None is not known. Members of a StrEnum are found as their values are."""
