"""Group commit for bodies: what is sealed while earlier packs are on their way goes into the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

MOST_OCTETS = 4 * 1024 * 1024
MOST_BODIES = 500


class Packed(Protocol):
    """A body that is to become durable."""

    @property
    def octets(self) -> bytes: ...


Item = TypeVar("Item", bound=Packed)


class Packer(Generic[Item]):
    """`put` makes several bodies durable at once, and gives their names. `under_way`: packs that are being written at once: with nothing to
    do a message waits for nobody, and under load a pack takes all that has come meanwhile. `packs` and `bodies` count what was written."""

    def __init__(self, put: Callable[[list[Item]], Awaitable[list[str]]], under_way: int) -> None:
        self._put = put
        self._under_way = under_way
        self._waiting: list[tuple[Item, asyncio.Future[str]]] = []
        self._writing: set[asyncio.Task[None]] = set()
        self.packs = 0
        self.bodies = 0

    async def add(self, item: Item) -> str:
        """Durable when it returns; gives the name. Raises what `put` raises."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._begin()
        return await future

    def _begin(self) -> None:
        if self._waiting and len(self._writing) < self._under_way:
            task = asyncio.create_task(self._write())
            self._writing.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.result()
        self._begin()

    async def _write(self) -> None:
        # Whoever is ready in the same turn of the event loop comes along.
        await asyncio.sleep(0)
        batch = self._next_batch()
        if not batch:
            return
        try:
            names = await self._put([item for item, _ in batch])
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        self.packs += 1
        self.bodies += len(batch)
        for (_, future), name in zip(batch, names, strict=True):
            if not future.done():
                future.set_result(name)

    def _next_batch(self) -> list[tuple[Item, "asyncio.Future[str]"]]:
        octets = count = 0
        for item, _ in self._waiting[:MOST_BODIES]:
            octets += len(item.octets)
            if count and octets > MOST_OCTETS:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch


async def both(first: Awaitable[None], second: Awaitable[None]) -> None:
    """Side by side; returns or raises when both have ended, so that nothing is still on its way to an object that is called failed."""
    for result in await asyncio.gather(first, second, return_exceptions=True):
        if result is not None:
            raise result
