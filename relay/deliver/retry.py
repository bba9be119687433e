"""When a transient failure is tried again, and for how long (RFC 5321 §4.5.4.1)."""

import hashlib
import uuid

from relay.settings.models import Delivery

JITTER = 0.1  # of a step, either way: messages that failed together do not come back together
SECOND = 1_000_000


def next_attempt_us(delivery: Delivery, message_id: uuid.UUID, attempts: int, now_us: int, expires_us: int) -> int | None:
    """When to try again after the `attempts`-th attempt (1 for the first), or None where the time is over. The last attempt is made at
    the expiry itself. Deterministic for a message and attempt."""
    if now_us >= expires_us:
        return None
    step = delivery.schedule[min(max(attempts, 1), len(delivery.schedule)) - 1]
    return min(now_us + int(step * SECOND * _jitter(message_id, attempts)), expires_us)


def expires_us(delivery: Delivery, received_us: int) -> int:
    """When a message that came in at `received_us` is given up."""
    return received_us + int(delivery.expiry * SECOND)


def delay_notice_us(delivery: Delivery, received_us: int) -> int:
    """From when on the sender is told of a delay, once (RFC 3461 §4.1, DELAY)."""
    return received_us + int(delivery.delay_notice * SECOND)


def _jitter(message_id: uuid.UUID, attempts: int) -> float:
    seed = hashlib.sha256(message_id.bytes + attempts.to_bytes(4, "big")).digest()
    return 1 - JITTER + 2 * JITTER * int.from_bytes(seed[:4], "big") / 0xFFFF_FFFF
