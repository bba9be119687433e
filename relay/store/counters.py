"""Rate counters: leased from the table in blocks and counted in memory, so that no message updates a row of its own.

What a process has leased and not used is lost to others until the window ends: with a block of a sixteenth of the limit, at most that
share for each process.
"""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.journal import Journal
from relay.store.tables import Counter

COUNTER = Counter.__table__  # type: ignore[attr-defined]
SHARE = 16
MAX_KEYS = 100_000
GIVEN_BACK_AT_ONCE = 500


@dataclass(slots=True)
class _Lease:
    window_start: int
    left: int
    full: bool
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Counters:
    """Windows are fixed: they begin at whole multiples of their length. A crash forgets at most what was leased, and counts it as used."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._leases: dict[tuple[str, str], _Lease] = {}

    async def take(self, scope: str, key: str, window_us: int, limit: int, amount: int, now_us: int) -> bool:
        """Counts `amount` in the present window, or nothing and False if that would pass `limit`."""
        start = now_us - now_us % window_us
        lease = self._leases.get((scope, key))
        if lease is None or lease.window_start != start:
            lease = _Lease(start, 0, False)
            self._leases[scope, key] = lease
            if len(self._leases) > MAX_KEYS:
                self._leases.pop(next(iter(self._leases)))
        if lease.left < amount and not lease.full:
            async with lease.asking:  # of many sessions at a start one asks: each would take a block, and together the whole limit
                if lease.left < amount and not lease.full:
                    block = max(amount, limit // SHARE, 1)
                    granted = await self._journal.submit(lambda connection: _lease(connection, scope, key, start, limit, block))
                    lease.left += granted
                    lease.full = granted < block
        if lease.left < amount:
            return False
        lease.left -= amount
        return True

    async def give_back(self) -> None:
        """At a stop: what was leased and not used, so that restarts use up no limit."""
        unused = [(scope, key, lease.window_start, lease.left) for (scope, key), lease in self._leases.items() if lease.left]
        self._leases = {}
        for start in range(0, len(unused), GIVEN_BACK_AT_ONCE):
            piece = unused[start : start + GIVEN_BACK_AT_ONCE]
            await self._journal.submit(partial(_give_back, unused=piece))

    async def flush(self, older_than_us: int) -> None:
        """Forgets windows that ended before `older_than_us`."""
        self._leases = {key: lease for key, lease in self._leases.items() if lease.window_start >= older_than_us}
        await self._journal.submit(lambda connection: connection.execute(delete(COUNTER).where(COUNTER.c.window_us < older_than_us)))


def _lease(connection: Connection, scope: str, key: str, start: int, limit: int, block: int) -> int:
    """Takes up to `block` of what is left under `limit`."""
    where = (COUNTER.c.scope == scope) & (COUNTER.c.key == key) & (COUNTER.c.window_us == start)
    # Whoever comes first makes the row; two machines that do so at the same moment find one.
    connection.execute(_insert(connection).values(scope=scope, key=key, window_us=start, count=0).on_conflict_do_nothing())
    used = connection.execute(select(COUNTER.c.count).where(where).with_for_update()).scalar_one()
    granted: int = max(0, min(block, limit - used))
    if granted:
        connection.execute(update(COUNTER).where(where).values(count=used + granted))
    return granted


def _give_back(connection: Connection, unused: list[tuple[str, str, int, int]]) -> None:
    """In one order, so that two that stop wait for each other and do not lock each other out."""
    for scope, key, start, left in sorted(unused):
        where = (COUNTER.c.scope == scope) & (COUNTER.c.key == key) & (COUNTER.c.window_us == start)
        connection.execute(update(COUNTER).where(where).values(count=COUNTER.c.count - left))


def _insert(connection: Connection) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(COUNTER) if connection.dialect.name == "postgresql" else sqlite.insert(COUNTER)
