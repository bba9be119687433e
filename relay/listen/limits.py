"""How much one listener takes: connections in all, for each address, and new ones in a minute."""

import time
from collections import Counter, deque

from relay.settings.models import Listener

WINDOW_SECONDS = 60.0


class ConnectionLimits:
    """Counts the connections of one listener. Networks of a proxy count as the address behind it, once that is known."""

    def __init__(self, settings: Listener) -> None:
        self.settings = settings
        self.open = 0
        self._by_address: Counter[str] = Counter()
        self._recent: dict[str, deque[float]] = {}

    def admit(self, address: str) -> bool:
        """Counts one connection in, and says whether it may stay; `leave` must follow either way."""
        self.open += 1
        self._by_address[address] += 1
        return (
            self.open <= self.settings.connections
            and self._by_address[address] <= self.settings.connections_per_address
            and self._rate(address) <= self.settings.connections_per_minute
        )

    def leave(self, address: str) -> None:
        self.open -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def _rate(self, address: str) -> int:
        now = time.monotonic()
        if len(self._recent) > 10_000:  # as many addresses as one attack may cost us in memory: about 5 MB
            self._recent = {key: times for key, times in self._recent.items() if times and times[-1] > now - WINDOW_SECONDS}
        times = self._recent.setdefault(address, deque(maxlen=self.settings.connections_per_minute + 1))
        while times and times[0] < now - WINDOW_SECONDS:
            times.popleft()
        times.append(now)
        return len(times)
