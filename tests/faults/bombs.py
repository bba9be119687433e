"""What kills the relay at an exact point of its next commit, or of its next sync of a body. Two kinds of store, two kinds of bomb.

SQLite works inside the relay: strace takes the relay. On PostgreSQL the commit happens in a backend: a lock that somebody else holds stops
a transaction between its writes; a backend that is frozen after its sync has committed, and can't say so. Then comes kill -9.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from enum import Enum
from typing import Protocol

from sqlalchemy import Connection, make_url, text

from relay.settings.models import Store
from relay.store.engine import open_engine, sqlite_path
from tests.faults.stand import Stand
from tests.faults.strace import SECONDS, Inject, NotInWindow, Trace, traced
from tests.servers.daemon import as_root
from tests.servers.processes import descendants, ended
from tests.stories.house import until

KILLED, FROZEN = "signal=SIGKILL", "signal=SIGSTOP"
"""Before the call is made; when it has been made."""


def prove(fact: bool, what: str) -> None:
    """Raises NotInWindow, with what was instead."""
    if not fact:
        raise NotInWindow(f"not in the window: {what}")


class Point(Enum):
    """BODY_SYNCED: the bytes of a body, not its folder. WRITING: amid the writes of a commit. WRITTEN: all is written and nothing is synced
    (SQLite). SYNCED: the commit is durable, and the relay does not know yet."""

    BODY_SYNCED = "body synced"
    WRITING = "writing"
    WRITTEN = "written"
    SYNCED = "synced"


CALLS = {
    Point.BODY_SYNCED: ("fsync", FROZEN),
    Point.WRITING: ("pwrite64", KILLED),
    Point.WRITTEN: ("fdatasync", KILLED),
    Point.SYNCED: ("fdatasync", FROZEN),
}
"""As SQLite and the spool make them, on Linux."""


class Bomb(Protocol):
    """Armed in the middle of something; it goes off when the relay comes to its point."""

    async def arm(self) -> None: ...

    async def gone_off(self) -> None:
        """Returns when the relay is dead. Raises NotInWindow where it did not go off; the relay is dead then, too."""
        ...


def bomb(at: Stand, point: Point, when: int = 1) -> Bomb:
    """`when` counts: the n-th write or sync from the arming on (SQLite)."""
    if sqlite_path(at.store) is not None or point is Point.BODY_SYNCED:
        call, what = CALLS[point]
        return InRelay(at, Inject((call,), what, str(when)))
    return BehindLock(at) if point is Point.WRITING else InBackend(at)


class _Armed:
    """What all have in common: whatever happens, the relay is dead and nothing is left attached in the end."""

    def __init__(self, at: Stand) -> None:
        self._at = at
        self._stack = contextlib.AsyncExitStack()

    async def arm(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            await self._attach(stack)
            self._stack = stack.pop_all()

    async def _attach(self, stack: contextlib.AsyncExitStack) -> None:
        """To what it watches; `stack` lets it go. Raises NotInWindow."""
        raise NotImplementedError

    async def gone_off(self) -> None:
        try:
            await self._until_there()
        except AssertionError as error:
            raise NotInWindow(str(error)) from None
        finally:
            pids = [self._at.house.pid, *descendants(self._at.house.pid)]
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._at.house.pid, signal.SIGKILL)
            await self._killed(pids)
            await self._stack.aclose()
            await self._at.until_dead()

    async def _killed(self, pids: list[int]) -> None:
        """The processes of the relay are killed, and nothing was let go yet."""

    async def _until_there(self) -> None:
        raise NotImplementedError


class InRelay(_Armed):
    """strace on the relay itself."""

    def __init__(self, at: Stand, inject: Inject) -> None:
        super().__init__(at)
        self._inject = inject
        self._trace: Trace | None = None

    async def _attach(self, stack: contextlib.AsyncExitStack) -> None:
        at = self._at
        self._trace = await stack.enter_async_context(traced([at.house.pid], self._inject, output=at.trace_file()))

    async def _until_there(self) -> None:
        assert self._trace is not None, "strace is not there"
        if self._inject.what == FROZEN:
            await self._trace.until_stopped()
        else:
            await self._trace.until_ended()


class _OnServer(_Armed):
    """On PostgreSQL: what the server's processes for the relay were about is over when they are gone."""

    async def gone_off(self) -> None:
        await super().gone_off()
        await until(lambda: not self._backends(), "the end of the server's processes for the relay", SECONDS)

    async def _killed(self, pids: list[int]) -> None:
        """One of several dies a moment after its parent, and would go on as soon as it is let go."""
        await until(lambda: all(ended(pid) for pid in pids), "the end of all processes of the relay", SECONDS)

    def _backends(self) -> list[int]:
        query = text("SELECT pid FROM pg_stat_activity WHERE usename = :role AND datname = current_database()")
        with _opened(self._at.owner) as connection:
            return list(connection.execute(query, {"role": make_url(self._at.store.url).username}).scalars())


class BehindLock(_OnServer):
    """Somebody else holds what the transaction writes last."""

    def __init__(self, at: Stand) -> None:
        super().__init__(at)
        self._lock: Connection | None = None

    async def _attach(self, stack: contextlib.AsyncExitStack) -> None:
        self._lock = stack.enter_context(_opened(self._at.owner))
        self._lock.execute(text("LOCK TABLE event, delivery IN SHARE MODE"))

    async def _until_there(self) -> None:
        await until(self._waiting, "a transaction that waits for the lock", SECONDS)

    def _waiting(self) -> bool:
        assert self._lock is not None, "there is no lock"
        return bool(self._lock.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar())


class InBackend(_OnServer):
    """strace on the server's processes for the relay."""

    def __init__(self, at: Stand) -> None:
        super().__init__(at)
        self._trace: Trace | None = None

    async def _attach(self, stack: contextlib.AsyncExitStack) -> None:
        pids = self._backends()
        stack.callback(lambda: subprocess.run(as_root(["kill", "-CONT", *map(str, pids)]), check=False, stderr=subprocess.DEVNULL))
        inject = Inject(("fdatasync",), FROZEN)
        self._trace = await stack.enter_async_context(traced(pids, inject, output=self._at.trace_file()))

    async def _until_there(self) -> None:
        assert self._trace is not None, "strace is not there"
        await self._trace.until_stopped()


@contextlib.contextmanager
def _opened(store: Store) -> Iterator[Connection]:
    """What is locked over it stays so, however long the rest takes."""
    engine = open_engine(store)
    try:
        with engine.connect() as connection:
            connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
            yield connection
    finally:
        engine.dispose()
