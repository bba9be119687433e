"""Rate limits for each client and each sender: messages and recipients, in an hour and in a day."""

from typing import Protocol

from relay.model.ports import Clock
from relay.policy.models import Client, Limits

HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US


class Counters(Protocol):
    """Counters that survive a restart and are shared by all processes."""

    async def take(self, scope: str, key: str, window_us: int, limit: int, amount: int, now_us: int) -> bool:
        """Counts `amount` in the present window, or nothing and False if that would pass `limit`."""
        ...


class Rates:
    """Takes from every counter that policy limits; the first that is full says no."""

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock

    async def message(self, client: Client, sender: str) -> bool:
        """One more message of this client from this sender."""
        return await self._take(client, sender, "messages")

    async def recipient(self, client: Client, sender: str) -> bool:
        """One more recipient."""
        return await self._take(client, sender, "recipients")

    async def _take(self, client: Client, sender: str, what: str) -> bool:
        for whose, key, limits in (("client", client.name, client.limits), ("sender", f"{client.name} {sender}", client.sender_limits)):
            for window, window_us, limit in _ceilings(limits, what):
                if limit is not None and not await self._counters.take(
                    f"{whose}-{what}-{window}", key, window_us, limit, 1, self._clock.now_us()
                ):
                    return False
        return True


def _ceilings(limits: Limits, what: str) -> tuple[tuple[str, int, int | None], ...]:
    if what == "messages":
        return ("hour", HOUR_US, limits.messages_per_hour), ("day", DAY_US, limits.messages_per_day)
    return ("hour", HOUR_US, limits.recipients_per_hour), ("day", DAY_US, limits.recipients_per_day)
