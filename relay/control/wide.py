"""Patterns of lists that cover more of the mail of late than somebody may have meant."""

from collections.abc import Mapping

from relay.control.operation import Services
from relay.policy.lists import MARK, EntryList, globs
from relay.store.shares import shares

DAYS = 30
DAY_US = 24 * 3600 * 1_000_000
MAX_PATTERNS = 1000
"""Of one look: each is held against many recipients."""
LEAST = 20
"""Recipients below which a share means nothing."""


async def wide_patterns(services: Services, lists: Mapping[str, EntryList]) -> tuple[str, ...]:
    """A warning for each, with its share. Raises StoreError."""
    every = [(name, pattern) for name in sorted(lists) for pattern in sorted(set(lists[name].patterns))]
    patterns = {f"{name} {pattern}": globs((pattern,)) for name, pattern in every[:MAX_PATTERNS]}
    found = await shares(services.reader, patterns, services.clock.now_us() - DAYS * DAY_US)
    most = services.settings.policy.pattern_percent
    told = tuple(
        f"lists/{name}.txt: '{MARK} {pattern}' covers {share.percent:.3g} % of the last {share.of} recipients (of at most {DAYS} days)"
        for name, pattern in every[:MAX_PATTERNS]
        if (share := found[f"{name} {pattern}"]).of >= LEAST and share.percent > most
    )
    left = len(every) - MAX_PATTERNS
    return told if left <= 0 else (*told, f"lists: {left} more patterns were not held against recent mail")
