"""What a replay of recorded mail says of a policy that is proposed: made in this one place."""

from typing import Any

from relay.control.operation import Services
from relay.policy.models import Policy


async def replay_summary(services: Services, policy: Policy) -> dict[str, Any] | None:
    """Plain values that are stored with the proposal and shown to whoever approves it; `told` among them is one line for people. None: it
    was not replayed."""
    del services, policy
    return None
