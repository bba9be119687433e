"""Group commit for an object store: what is sealed while earlier packs are on their way goes into the next one."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from uuid import UUID

from relay.model.ids import new_id
from relay.store.spool import pack
from relay.store.spool.bucket import Bucket
from relay.store.spool.pack import BODY, FOLDER, KEYS, Entry

UNDER_WAY = 2
"""Packs that are being written at once: with nothing to do a message waits for nobody, and under load a pack takes all that has come in
half the time of a PUT."""
MOST_OCTETS = 4 * 1024 * 1024
MOST_BODIES = 500


@dataclass(frozen=True, slots=True)
class Sealed:
    """A body that is to become durable, as it stands behind its header."""

    identity: UUID
    slot: bytes
    octets: bytes = field(repr=False)


class Packer:
    """`packs` and `bodies` count what was written."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._waiting: list[tuple[Sealed, asyncio.Future[str]]] = []
        self._writing: set[asyncio.Task[None]] = set()
        self.packs = 0
        self.bodies = 0

    async def add(self, sealed: Sealed) -> str:
        """Durable when it returns; gives the name. Raises SpoolUnavailable."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((sealed, future))
        self._begin()
        return await future

    def _begin(self) -> None:
        if self._waiting and len(self._writing) < UNDER_WAY:
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
        name = new_id().hex
        try:
            await self._put(name, [sealed for sealed, _ in batch])
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        self.packs += 1
        self.bodies += len(batch)
        for sealed, future in batch:
            if not future.done():
                future.set_result(pack.joined(name, sealed.identity))

    def _next_batch(self) -> list[tuple[Sealed, "asyncio.Future[str]"]]:
        octets = count = 0
        for sealed, _ in self._waiting[:MOST_BODIES]:
            octets += len(sealed.octets)
            if count and octets > MOST_OCTETS:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _put(self, name: str, batch: list[Sealed]) -> None:
        entries, offset = [], 0
        for sealed in batch:
            entries.append(Entry(sealed.identity, offset, len(sealed.octets), sealed.slot))
            offset += len(sealed.octets)
        await both(
            self._bucket.put_soon(f"{FOLDER}{name}{BODY}", b"".join(sealed.octets for sealed in batch)),
            self._bucket.put_soon(f"{FOLDER}{name}{KEYS}", pack.encode(entries)),
        )


async def both(first: Awaitable[None], second: Awaitable[None]) -> None:
    """Side by side; returns or raises when both have ended, so that nothing is still on its way to an object that is called failed."""
    for result in await asyncio.gather(first, second, return_exceptions=True):
        if result is not None:
            raise result
