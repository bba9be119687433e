"""Who has nothing to do, and who waits for one of them."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Idle(Generic[Item]):
    """First come, first served. (In an asyncio.Queue whoever asks between a `put` and the turn of the one who waits is served first, and
    the one who waited begins again at the end: under load one message in a hundred waited twice as long as the others.)"""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._turns: deque[asyncio.Future[Item]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Gives it to whoever waits longest, or keeps it."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(item)
                return
        self._items.append(item)

    async def take(self) -> Item:
        """One of them, for this caller alone."""
        if self._items:  # then nobody waits
            return self._items.popleft()
        turn: asyncio.Future[Item] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it was given, and is not wanted any more
                self.put(turn.result())
            elif turn in self._turns:  # `put` may have passed over it already
                self._turns.remove(turn)
            raise
