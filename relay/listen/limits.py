"""How much one listener takes: connections in all, for each address, and new ones in a minute."""

import ipaddress
import time
from collections import Counter, OrderedDict, deque

from relay.settings.models import Listener

HANDSHAKE_SECONDS = 30.0  # where TLS comes first: as long as after STARTTLS
WINDOW_SECONDS = 60.0
REMEMBERED = 10_000  # addresses: what one attack may cost us in memory, about 5 MB with a few connections each


class ConnectionLimits:
    """Counts the connections of one listener. Networks of a proxy count as the address behind it, once that is known; an IPv6 address
    counts as its /64, of which every host has at least one (RFC 6177 §2)."""

    def __init__(self, settings: Listener, shed: Counter[str] | None = None) -> None:
        self.settings = settings
        self._shed: Counter[str] = Counter() if shed is None else shed
        self.open = 0
        self._by_address: Counter[str] = Counter()
        self._recent: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, address: str) -> bool:
        """Counts one connection in, and says whether it may stay; `leave` must follow either way."""
        key = _key(address)
        self.open += 1
        self._by_address[key] += 1
        admitted = (
            self.open <= self.settings.connections
            and self._by_address[key] <= self.settings.connections_per_address
            and self._rate(key) <= self.settings.connections_per_minute
        )
        if not admitted:
            self._shed["connections"] += 1
        return admitted

    def leave(self, address: str) -> None:
        """Counts it out again."""
        key = _key(address)
        self.open -= 1
        self._by_address[key] -= 1
        if self._by_address[key] <= 0:
            del self._by_address[key]

    def _rate(self, key: str) -> int:
        now = time.monotonic()
        times = self._recent.setdefault(key, deque())
        self._recent.move_to_end(key)
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        while times and (times[0] < now - WINDOW_SECONDS or len(times) > self.settings.connections_per_minute):
            times.popleft()
        times.append(now)
        return len(times)


def most_open(connections: int) -> int:
    """How many a listener has at a time at most: those that it serves, and those that are hearing their 421. What comes beyond is closed
    without a word, for descriptors must be left to people and deliveries."""
    return connections + max(connections // 10, 20)


def _key(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
