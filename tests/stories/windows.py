"""Limits and first-time recipients count in whole hours and days of UTC: no story may begin in one and end in the next."""

import asyncio
import time

from relay.receive.rates import DAY_US, HOUR_US

HOUR, DAY = HOUR_US // 1_000_000, DAY_US // 1_000_000
"""Seconds."""
ROOM = 60
"""Seconds that a story may take on a slow machine."""


async def room_in(window: int) -> None:
    """Waits for the next hour or day where this one is about to end."""
    left = window - time.time() % window
    if left < ROOM:
        await asyncio.sleep(left)
