"""Several small messages whose bodies are sealed together, and the windows in which the relay is killed then.

The disk stands still under the first seal until all are inspected, so that the others come to wait for each other. From there the relay is
frozen at each of its calls until what is on the disk shows the moment: nothing depends on how fast the machine is.
"""

import contextlib
import urllib.request
from asyncio import Task, create_task, gather
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from relay.model.errors import SpoolError
from relay.store.spool.folder_pack import SUFFIX, UNFINISHED, PackFile
from tests.faults.bombs import FROZEN, Point, bomb, prove
from tests.faults.client import SMALL, Transaction
from tests.faults.stand import LOOK_SECONDS, Stand
from tests.faults.strace import Inject, NotInWindow, freeze, thaw, traced
from tests.stories.house import House, until

TOGETHER = 5
STILL = Inject(("fsync",), "delay_exit=600000000", "1+")
"""Each sync ends when strace is gone, or after ten minutes."""
MAKE = (Inject(("openat",), FROZEN, "1+"),)
SYNC = (Inject(("fsync",), FROZEN, "1+"),)
NAME = (Inject(("rename",), FROZEN, "1+"),)


class Inspections:
    """How many messages a relay has received and inspected since this was made, by its metrics."""

    def __init__(self, sluis: House) -> None:
        self._sluis = sluis
        self._before = self._metrics()["sluis_messages_received_total"]

    def over(self, number: int) -> bool:
        """Whether so many messages have come in, and none waits for the worker: at most one is still inspected."""
        found = self._metrics()
        return found["sluis_messages_received_total"] - self._before >= number and not found["sluis_inspect_waiting"]

    def _metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._sluis.relay.ports['http']}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


@asynccontextmanager
async def about_to_be_packed(at: Stand, transactions: list[Transaction]) -> AsyncIterator[None]:
    """The relay stands still (SIGSTOP) while it seals the first of these, and the others wait. After the block each client has its answer,
    or a connection that was cut off: the block lets the relay go on, or kills it."""
    inspections = Inspections(at.house)
    sending: list[Task[Transaction]] = []
    try:
        async with AsyncExitStack() as still:
            with at.workers_stopped():
                sending += [create_task(at.client.send(at.house.port(), transaction)) for transaction in transactions]
                await until(lambda: all(transaction.dot for transaction in transactions), "the final dots")
                await still.enter_async_context(traced([at.house.pid], STILL, output=at.trace_file()))
            await until(lambda: inspections.over(len(transactions)), "all but the last to be inspected")
            await freeze(at.house.pid)
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            thaw(at.house.pid)
        raise
    finally:
        await gather(*sending)


async def frozen_when(at: Stand, there: Callable[[], bool], injects: Sequence[Inject]) -> None:
    """A relay that stands still goes on, and is frozen at each of these calls until it is there."""
    stops = 0
    async with traced([at.house.pid], *injects, output=at.trace_file()) as trace:
        while not stops or not there():
            stops += 1
            thaw(at.house.pid)
            await trace.until_stopped(stops=stops)


async def _frozen_when_one_is_in_store(at: Stand, transactions: Sequence[Transaction]) -> None:
    """The one that was sealed before the pack: its commit is over then, for no sync of the pack comes to its end before."""
    async with traced([at.house.pid], STILL, output=at.trace_file()):
        thaw(at.house.pid)
        await until(
            lambda: any(at.rows_of(transaction) for transaction in transactions), "the first of them in the store", every=LOOK_SECONDS
        )
        await freeze(at.house.pid)


def _unfinished(at: Stand) -> set[Path]:
    """Packs that are being written, and what kills have left of them."""
    return set((at.house.folder / "spool").glob(f"*/*{UNFINISHED}"))


def in_packs(at: Stand, suffix: str) -> dict[str, int]:
    """How many bodies the packs have, whole ones or those without their name yet."""
    found = {}
    for path in (at.house.folder / "spool").glob(f"*/*{suffix}"):
        with contextlib.suppress(SpoolError), PackFile(path) as pack:  # of one that is being written the index may not be whole
            size = path.stat().st_size
            found[path.stem] = sum(place.offset + place.length <= size for place in pack.places.values())
    return found


def packs_in_store(at: Stand, transactions: list[Transaction]) -> Counter[str]:
    """The packs that the store names for their messages, and for how many. One that was sealed alone has none."""
    names = {row.m_spool_object for transaction in transactions for row in at.rows_of(transaction)}
    return Counter(name.partition("/")[0] for name in names if "/" in name)


async def _killed(at: Stand, suffix: str, injects: Sequence[Inject], point: Point | None = None) -> list[Transaction]:
    """Killed when a new pack of several bodies is on the disk under such a name, at the return from one of these calls; or at that point
    of the commit that follows. Gives those whose client has heard nothing."""
    transactions = [at.compose(size=SMALL) for _ in range(TOGETHER)]
    before, unfinished = in_packs(at, suffix), _unfinished(at)

    def there() -> bool:
        return any(bodies > 1 for name, bodies in in_packs(at, suffix).items() if name not in before)

    with at.held("MAIL"):
        async with about_to_be_packed(at, transactions):
            try:
                if injects is NAME:
                    await frozen_when(at, lambda: bool(_unfinished(at) - unfinished), MAKE)
                    await _frozen_when_one_is_in_store(at, transactions)
                await frozen_when(at, there, injects)
                if point is not None:
                    fuse = bomb(at, point)
                    await fuse.arm()
                    thaw(at.house.pid)
                    await fuse.gone_off()
            except AssertionError as error:
                raise NotInWindow(str(error)) from None
            finally:
                if at.running:
                    await at.kill()
    prove(there(), "the pack has another name")
    caught = [transaction for transaction in transactions if not transaction.heard_250]
    prove(len(caught) > 1, f"{len(caught)} clients heard nothing")
    return caught


async def written(at: Stand) -> list[Transaction]:
    """A file of several bodies is written whole, and has not its name yet: nobody will find it."""
    caught = await _killed(at, UNFINISHED, SYNC)
    prove(not packs_in_store(at, caught), "one of them is in the store")
    return caught


async def named(at: Stand) -> list[Transaction]:
    """It has its name, its folder is not synced, and the store knows nothing of those in it."""
    caught = await _killed(at, SUFFIX, NAME)
    prove(not packs_in_store(at, caught), "one of them is in the store")
    return caught


async def amid_commit(at: Stand) -> list[Transaction]:
    """All of it is sealed, and the commit of its messages is written and not synced."""
    return await _committing(at, Point.WRITTEN)


async def committed(at: Stand) -> list[Transaction]:
    """The commit of several messages with one pack is durable, and no client has heard 250."""
    return await _committing(at, Point.SYNCED)


async def _committing(at: Stand, point: Point) -> list[Transaction]:
    caught = await _killed(at, SUFFIX, NAME, point)
    packs = packs_in_store(at, caught)
    prove(max(packs.values(), default=0) > 1, f"no two of them are in one pack, and in the store: {packs}")
    return caught
