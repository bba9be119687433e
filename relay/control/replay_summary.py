"""What a replay of recorded mail says of a policy that is proposed: made in this one place."""

import asyncio
from functools import partial
from typing import Any

from relay.control.operation import Services
from relay.model.errors import SluisError
from relay.policy.models import Policy

DAYS = 30
DAY_US = 86_400 * 1_000_000


async def replay_summary(services: Services, policy: Policy) -> dict[str, Any] | None:
    """Plain values that are stored with the proposal and shown to whoever approves it: the newest messages of 30 days, decided again in a
    process of its own. None: the settings ask for none. A replay that failed is no reason to keep a policy from being proposed: `told`
    says so to whoever approves it."""
    newest = services.settings.policy.replay_messages
    if not newest:
        return None
    # Imported here: a relay replays nothing most of the time, and has better use for the megabyte.
    from relay.rehearsal.replay import Asked, replay

    asked = Asked(since_us=services.clock.now_us() - DAYS * DAY_US, limit=0, newest=newest)
    try:
        counts = await asyncio.to_thread(partial(replay, services.settings.store, policy, asked, apart=True))
    except SluisError as error:
        return {"told": f"could not be replayed: {error}"}
    told = f"{counts.messages} messages replayed: {counts.differ} of {counts.recipients} recipients would come out otherwise"
    if counts.not_known:
        told += f", of {counts.not_known} the record tells too little"
    return {"told": told, **counts.summary(messages=False)}
