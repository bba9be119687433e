"""Whether patterns of the policy cover an address: `a@b.nl`, `b.nl`, `.b.nl` (all below it), or `*`."""

from collections.abc import Iterable
from functools import lru_cache

from relay.model.address import address_key, domain_key

domain_key("é.nl")  # loads Python's IDNA codec now, so that deciding reads no file


class PatternSet:
    """Many patterns as sets, so that a list of ten thousand costs no more than one of ten."""

    __slots__ = ("_addresses", "_anything", "_below", "_domains")

    def __init__(self, patterns: Iterable[str]) -> None:
        addresses, domains, below = set(), set(), set()
        self._anything = False
        for pattern in patterns:
            if pattern == "*":
                self._anything = True
            elif "@" in pattern:
                addresses.add(address_key(pattern))
            elif pattern.startswith("."):
                below.add(domain_key(pattern[1:]))
            else:
                domains.add(domain_key(pattern))
        self._addresses, self._domains, self._below = frozenset(addresses), frozenset(domains), frozenset(below)

    def covers(self, address: str) -> bool:
        """`address` is an address key (`relay.model.address.address_key`). Nothing covers the null reverse-path, an empty key."""
        if not address:
            return False
        if self._anything or address in self._addresses:
            return True
        if not self._domains and not self._below:
            return False
        _, at, domain = address.rpartition("@")
        if not at:  # `postmaster` alone has no domain
            return False
        return domain in self._domains or (bool(self._below) and self._covers_above(domain))

    def _covers_above(self, domain: str) -> bool:
        """Whether a domain above this one (not itself) is listed."""
        at = domain.find(".")
        while at >= 0:
            if domain[at + 1 :] in self._below:
                return True
            at = domain.find(".", at + 1)
        return False


@lru_cache(maxsize=16_384)
def _single(pattern: str) -> PatternSet:
    return PatternSet((pattern,))


def pattern_matches(pattern: str, address: str) -> bool:
    """Whether one pattern covers an address key."""
    return _single(pattern).covers(address)
