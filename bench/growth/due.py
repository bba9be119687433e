"""Mail that waited is due all at once, as when a next hop is back after hours, while new mail comes in."""

import asyncio
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from bench.growth.installation import cpu_seconds, pid_of, started
from bench.growth.load import Sent, Sink, hand_in
from relay.settings.models import Store
from relay.store.engine import open_engine
from relay.store.tables import Queue

QUEUE: Any = Queue.__table__  # type: ignore[attr-defined]
RECIPIENTS = 2
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.2
PUT_OFF_US = 5 * 3600 * 1_000_000


@dataclass(frozen=True)
class Drained:
    """`due` deliveries in `seconds`, with `new` handed in meanwhile; milliseconds of CPU for a message of both; how many of those that were
    due had gone when the last new one was answered."""

    due: int
    seconds: float
    cpu_ms: float
    new: Sent
    gone: int


async def drain(folder: Path, owner: Store, sink: Sink, deliveries: int, new: int, database_pid: int | None, connections: int) -> Drained:
    """Hands in mail for a next hop that is closed, makes all of it due at once, opens the next hop, and hands in `new` messages meanwhile.
    `folder`: of a relay that is down; it is down again at the end."""
    begun_id = uuid.UUID(int=time.time_ns() // 1_000_000 << 80)
    sink.closed = True
    relay, _ = await started(folder)
    await hand_in(relay.ports["inside"], deliveries // RECIPIENTS, RECIPIENTS, connections)
    await asyncio.sleep(2)  # the attempts that are under way end
    await relay.stop()
    waiting = _make_due(owner, begun_id)
    sink.closed = False
    relay, _ = await started(folder)
    try:
        roots = [pid_of(relay), *([database_pid] if database_pid else [])]
        used, before, begun = cpu_seconds(*roots), sink.messages, time.monotonic()
        sent = await hand_in(relay.ports["inside"], new, 1, connections)
        gone = sink.messages - before
        await sink.until(before + waiting // RECIPIENTS + new)
        seconds = time.monotonic() - begun
        await _until_none_is_queued(owner, begun_id)
        return Drained(waiting, seconds, 1000 * (cpu_seconds(*roots) - used) / (waiting // RECIPIENTS + new), sent, gone)
    finally:
        await relay.stop()


def put_off(owner: Store) -> None:
    """What was generated has no bodies, and waits for longer than a measurement takes; not for longer than three of the longest steps
    between two attempts, which would be taken for the work of a wrong clock (relay/store/far_ahead.py)."""
    engine = open_engine(owner)
    with engine.begin() as connection:
        next_us = time.time_ns() // 1000 + PUT_OFF_US
        connection.execute(update(QUEUE).values(next_us=next_us, owner=None, lease_until_us=None))
    engine.dispose()


def _make_due(owner: Store, since: uuid.UUID) -> int:
    """Gives how many rows of the queue."""
    engine = open_engine(owner)
    with engine.begin() as connection:
        due = update(QUEUE).where(QUEUE.c.message_id >= since).values(next_us=time.time_ns() // 1000, owner=None, lease_until_us=None)
        rows = connection.execute(due).rowcount
    engine.dispose()
    return int(rows)


async def _until_none_is_queued(owner: Store, since: uuid.UUID) -> None:
    """Outcomes are written behind the next hop's 250."""
    engine = open_engine(owner)
    until = time.monotonic() + WAIT_SECONDS
    query = select(func.count()).select_from(QUEUE).where(QUEUE.c.message_id >= since)
    while time.monotonic() < until:
        with engine.connect() as connection:
            if not connection.execute(query).scalar():
                break
        await asyncio.sleep(POLL_SECONDS)
    engine.dispose()
