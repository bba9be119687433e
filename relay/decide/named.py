"""What conditions refer to by name, made ready once for a policy: partners and lists."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.decide.skeleton import skeleton
from relay.policy.asked import mentioned_in_expressions
from relay.policy.base import LIST, list_names
from relay.policy.lists import AddressSet, EntryList
from relay.policy.match import PatternSet
from relay.policy.models import Policy


class Addresses:
    """Patterns and lists that stand in one condition."""

    __slots__ = ("_lists", "_patterns")

    def __init__(self, patterns: PatternSet, lists: tuple[AddressSet, ...]) -> None:
        self._patterns = patterns
        self._lists = lists

    def covers(self, address: str) -> bool:
        """`address` is an address key."""
        return self._patterns.covers(address) or any(one.covers(address) for one in self._lists)


@dataclass(frozen=True, slots=True)
class Named:
    """Whoever names what is not there, names nothing (the policy was checked before). `mentioned` are the words of all expressions."""

    partners: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lists: dict[str, EntryList] = field(default_factory=dict)
    sets: dict[str, AddressSet] = field(default_factory=dict)
    ours: PatternSet = field(default_factory=lambda: PatternSet(()))
    our_skeleton: str = ""
    mentioned: frozenset[str] | None = None

    @classmethod
    def of(cls, policy: Policy) -> "Named":
        """Of a whole policy."""
        organisation = policy.organisation
        return cls(
            partners={partner.name: partner.domains for partner in organisation.partners},
            lists=policy.lists,
            sets={name: AddressSet(entries) for name, entries in policy.lists.items()},
            ours=PatternSet(organisation.domains),
            our_skeleton=skeleton(organisation.name),
            mentioned=mentioned_in_expressions(policy),
        )

    def addresses(self, listed: Iterable[str]) -> PatternSet | Addresses:
        """Patterns, and `list:NAME` for what stands in a list."""
        entries = tuple(listed)
        plain = PatternSet(entry for entry in entries if not entry.startswith(LIST))
        lists = self.groups(list_names(entries))
        return Addresses(plain, lists) if lists else plain

    def groups(self, names: Iterable[str]) -> tuple[AddressSet, ...]:
        """The lists of these names."""
        return tuple(self.sets[name] for name in names if name in self.sets)

    def partner(self, names: Iterable[str]) -> PatternSet:
        """The domains of these partners."""
        return PatternSet(pattern for name in names for pattern in self.partners.get(name, ()))

    def digests(self, listed: Iterable[str]) -> frozenset[str]:
        """SHA-256 in hex, and `list:NAME`."""
        entries = tuple(listed)
        found = {entry for entry in entries if not entry.startswith(LIST)}
        return frozenset(found.union(*(self.lists[name].digests for name in list_names(entries) if name in self.lists)))
