"""What the kernel gives a process fails: descriptors run out, the clock jumps forward and back."""

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.faults.around.play import Fault, NotThere, deferred, prove
from tests.faults.client import LARGE, MEDIUM, SMALL, Transaction
from tests.faults.stand import CLERKS, HELD, LOOK_SECONDS, Stand
from tests.stories.house import until

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
"""Debian: faketime."""
EXHAUSTED = "Too many open files"
HOUR = 3600
NEAR_SECONDS = 300
"""However slow a round is, this is far from an hour."""
LOOKS = 50
LOOKS_IN_A_ROW = 3
LOOK_AGAIN_SECONDS = 0.003
TRIES = 10


@asynccontextmanager
async def _no_descriptors(at: Stand) -> AsyncIterator[Callable[[], bool]]:
    """The relay can open nothing more, until the end of the block; what is open stays so. What it closes is taken away, too: a file that is
    synced may be open for long on a busy machine. Gives whether all that it may have is taken."""
    pid = at.house.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # The lowest that is free in any of several looks: others are open for a moment only.
    limit = min(_lowest_free(pid) for _ in range(LOOKS))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limits[1]))

    async def take() -> None:
        nonlocal limit
        while True:
            free = []
            for _ in range(LOOKS_IN_A_ROW):  # an event loop may close its last one for a moment, to turn a client away
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                free.append(_lowest_free(pid))
            if max(free) < limit:
                limit = max(free)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limits[1]))

    taking = asyncio.create_task(take())
    try:
        yield lambda: any(_lowest_free(pid) >= limit for _ in range(LOOKS))
    finally:
        taking.cancel()
        await asyncio.wait([taking])
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def _lowest_free(pid: int) -> int:
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(taken) + 1) if number not in taken)


async def none_at_accept(at: Stand) -> list[Transaction]:
    """They run out when all but the final dot was sent, and come back after the reply. What closes a file just then may leave one for a
    message: it is not in the window, and another one is sent."""
    sent = []
    for _ in range(TRIES):
        async with contextlib.AsyncExitStack() as gone:

            async def take() -> None:
                await gone.enter_async_context(_no_descriptors(at))

            transaction = await at.send([CLERKS[0]], LARGE, before_dot=take)
        sent.append(transaction)
        if not transaction.heard_250:
            assert at.running, "the relay has ended itself"
            prove(transaction.reply is not None and transaction.reply.code in (451, 452), f"it heard {transaction.reply}")
            return sent
    raise NotThere("every message was accepted")


async def none_for_clients(at: Stand) -> list[Transaction]:
    """Clients come while none can be let in; they are let in later, or come again. Where one was let in by a file that was closed just
    then, others come."""
    sent: list[Transaction] = []
    for _ in range(TRIES):
        async with _no_descriptors(at) as all_taken:
            sending = [asyncio.create_task(at.send([CLERKS[0]], size)) for size in (SMALL, MEDIUM)]
            done, _pending = await asyncio.wait(sending, timeout=1)
            shut_out = all_taken() and not any(task.result().heard_250 for task in done)
        sent += await asyncio.gather(*sending)
        if shut_out:
            return sent
    raise NotThere("one was let in each time")


async def none_in_custody(at: Stand) -> list[Transaction]:
    """They run out while a message waits for its next attempt."""
    at.hop.behaviour.replies = {"MAIL": "451 4.3.0 Later"}
    try:
        transaction = await at.send([CLERKS[0]], LARGE)
        prove(transaction.heard_250, f"it was not accepted: {transaction.reply}")
        await until(lambda: deferred(at, transaction), "a first attempt", every=LOOK_SECONDS)
        before = len(at.house.log())
        async with _no_descriptors(at):
            await until(lambda: EXHAUSTED in at.house.log()[before:], lambda: f"a failure: {at.house.log()[before:]}")
            prove([row.state for row in at.rows_of(transaction)] == ["ready"], "it waits no more")
    finally:
        at.hop.behaviour.replies = {}
    return [transaction]


DESCRIPTORS: dict[str, Fault] = {
    "no descriptors at accept": none_at_accept,
    "no descriptors for clients": none_for_clients,
    "no descriptors in custody": none_in_custody,
}


class FakeClock:
    """The wall clock of processes that are started with `environment`; their monotonic clock stays as it is (libfaketime)."""

    def __init__(self, folder: Path) -> None:
        assert LIBRARY.exists(), f"{LIBRARY} is missing (Debian: faketime)"
        self._file = folder / "faketime"
        self.jump(0)

    @property
    def environment(self) -> dict[str, str]:
        """To be set before a process starts."""
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """From now on the clock is so far ahead of the true one, or behind it."""
        fresh = self._file.with_name("faketime.new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)


def at_accept(clock: FakeClock, seconds: int) -> Fault:
    """The clock jumps amid a message, and back when it has left."""

    async def fault(at: Stand) -> list[Transaction]:
        async def jump() -> None:
            clock.jump(seconds)

        try:
            transaction = await at.send(before_dot=jump)
            prove(transaction.heard_250, f"it heard {transaction.reply}")
            await at.settle()
            prove_jumped(at, transaction, seconds)
        finally:
            clock.jump(0)
        return [transaction]

    return fault


def at_final_dot(clock: FakeClock, seconds: int) -> Fault:
    """It jumps while the next hop keeps its reply to the final dot to itself: its lease has ended long ago, or lasts for long."""

    async def fault(at: Stand) -> list[Transaction]:
        release = at.hop.hold("DOT")
        before = len(at.hop.copies)
        try:
            transaction = await at.send([CLERKS[0]])
            await at.hop.until_held("DOT")
            clock.jump(seconds)
            await asyncio.sleep(0.5)  # several looks at the queue; none may bring it on a second time
            arrived = len(at.hop.copies) - before
            release()
            await at.settle()
            prove_jumped(at, transaction, seconds)
        finally:
            release()
            clock.jump(0)
        assert arrived == 1, f"a jump of the clock made {arrived} copies"
        return [transaction]

    return fault


def while_waiting(clock: FakeClock, seconds: int) -> Fault:
    """It jumps while a message waits for its next attempt, and back after another attempt."""

    async def fault(at: Stand) -> list[Transaction]:
        at.hop.behaviour.replies = {"MAIL": "451 4.3.0 Later"}
        try:
            transaction = await at.send([CLERKS[0]])
            prove(transaction.heard_250, f"it was not accepted: {transaction.reply}")
            await until(lambda: deferred(at, transaction), "a first attempt", every=LOOK_SECONDS)
            clock.jump(seconds)
            witness = await at.send([HELD], SMALL)
            prove_jumped(at, witness, seconds)
            asked = at.hop.commands.count
            before = asked(_mail(at))
            if seconds > 0:
                await until(lambda: asked(_mail(at)) > before, "another attempt")
        finally:
            at.hop.behaviour.replies = {}
            clock.jump(0)
        return [transaction, witness]

    return fault


def prove_jumped(at: Stand, transaction: Transaction, seconds: int) -> None:
    """The relay's own clock was so far from the true one when it wrote an event about a message, a moment ago."""
    off = [int(event["time_us"]) / 1e6 - time.time() for event in at.events_of(transaction)]
    prove(any(abs(each - seconds) < NEAR_SECONDS for each in off), f"no event is {seconds:+d} s off the true time: {off}")


def _mail(at: Stand) -> str:
    """The MAIL command as it was last heard."""
    return next(command for command in reversed(at.hop.commands) if command.startswith("MAIL "))


Jump = Callable[[FakeClock, int], Fault]


def clock_jumps(clock: FakeClock) -> dict[str, Fault]:
    """An hour is far more than any lease."""
    return {
        f"clock {seconds:+d} s {name}": jump(clock, seconds)
        for name, jump in (("at accept", at_accept), ("at the final dot", at_final_dot), ("while it waits", while_waiting))
        for seconds in (HOUR, -HOUR)
    }


FEW = (f"clock {HOUR:+d} s at the final dot", f"clock {-HOUR:+d} s at accept", f"clock {HOUR:+d} s while it waits")
"""For `make test`: a process whose clock is read from a file needs ten times the processor time."""
