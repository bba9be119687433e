"""Whether a pattern of the policy covers an address: `a@b.nl`, `b.nl`, `.b.nl` (all below it), or `*`."""

from functools import lru_cache

from relay.model.address import address_key, domain_key


@lru_cache(maxsize=16_384)
def _folded(pattern: str) -> str:
    if "@" in pattern:
        return address_key(pattern)
    if pattern.startswith("."):
        return "." + domain_key(pattern[1:])
    return domain_key(pattern)


def pattern_matches(pattern: str, address: str) -> bool:
    """`address` is an address key (`relay.model.address.address_key`). The null reverse-path, an empty key, is covered by no pattern."""
    if not address:
        return False
    if pattern == "*":
        return True
    folded = _folded(pattern)
    if "@" in folded:
        return folded == address
    domain = address.rpartition("@")[2]
    return domain.endswith(folded) if folded.startswith(".") else domain == folded
