"""How many octets of large messages are inspected at a time, whatever the number of workers: memory follows from it."""

import asyncio
from collections import deque

SMALL = 1024 * 1024
"""Octets up to which a message does not count: as many as there are workers are no matter, and they never wait behind large ones."""


class ByteBudget:
    """First come, first served. A message larger than the whole budget is inspected alone. `in_flight` is what is being inspected."""

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.in_flight = 0

    async def take(self, size: int) -> None:
        """Returns when there is room for it; `give` must follow."""
        if size <= SMALL:
            return
        if not self._waiting and self._fits(size):
            self.in_flight += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it was our turn already
                self.give(size)
            else:
                if (size, turn) in self._waiting:  # `give` may have passed over it already
                    self._waiting.remove((size, turn))
                self._next()
            raise

    def give(self, size: int) -> None:
        """Back."""
        if size > SMALL:
            self.in_flight -= size
            self._next()

    def _fits(self, size: int) -> bool:
        return self.in_flight == 0 or self.in_flight + size <= self._octets

    def _next(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if turn.cancelled():
                continue
            self.in_flight += size
            turn.set_result(None)
