"""Open connections that wait for the next message, and how many may be open to one destination."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from relay.deliver.connection import Connection

IDLE = 10.0  # seconds; short, because an idle connection takes a place at the next hop
GOODBYE = 2.0  # seconds for all idle connections together, at a stop
TRANSACTIONS = 100  # per connection: some servers count, and a fresh one sees a changed certificate or DNS


@dataclass(slots=True)
class _Limit:
    places: asyncio.Semaphore
    users: int = 0


@dataclass(slots=True)
class _Idle:
    connection: Connection
    until: float  # loop time


class Pool:
    """Keys are what makes two connections the same: route and host for idle ones, destination for places."""

    def __init__(self, idle: float = IDLE) -> None:
        self._idle_seconds = idle
        self._limits: dict[Hashable, _Limit] = {}
        self._idle: dict[Hashable, list[_Idle]] = {}
        self._timer: asyncio.TimerHandle | None = None  # one for all: it fires no later than the first of them ends

    @asynccontextmanager
    async def place(self, destination: Hashable, limit: int) -> AsyncIterator[None]:
        """Waits until fewer than `limit` are busy with the destination."""
        entry = self._limits.setdefault(destination, _Limit(asyncio.Semaphore(limit)))
        entry.users += 1
        try:
            async with entry.places:
                yield
        finally:
            entry.users -= 1
            if not entry.users:
                del self._limits[destination]

    def take(self, key: Hashable) -> Connection | None:
        """An open connection, or None. Whether the next hop still wants it is told by its first reply: no RSET is needed after the end of a
        transaction (RFC 5321 §4.1.1.4), and one that was given up in this moment costs nothing but another."""
        while waiting := self._idle.get(key):
            entry = waiting.pop()
            if not waiting:
                del self._idle[key]
            if entry.connection.channel.alive:
                return entry.connection
            entry.connection.channel.abort()
        return None

    def give(self, key: Hashable, connection: Connection) -> None:
        """Keeps a connection whose last reply was read."""
        if connection.channel.closing or connection.transactions >= TRANSACTIONS:
            connection.channel.quit()
            return
        loop = asyncio.get_running_loop()
        self._idle.setdefault(key, []).append(_Idle(connection, loop.time() + self._idle_seconds))
        if self._timer is None:
            self._timer = loop.call_later(self._idle_seconds, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        over = loop.time()
        waiting, self._idle, self._timer = self._idle, {}, None
        for key, entries in waiting.items():
            left = [entry for entry in entries if entry.until > over]
            if left:
                self._idle[key] = left
            for entry in entries:
                if entry.until <= over:
                    entry.connection.channel.quit()
        if self._idle:
            self._timer = loop.call_at(min(entries[0].until for entries in self._idle.values()), self._expire)

    async def close(self) -> None:
        """Says QUIT on all that wait."""
        waiting = [entry for entries in self._idle.values() for entry in entries]
        self._idle.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.gather(*(entry.connection.channel.quit_and_wait(GOODBYE) for entry in waiting))
