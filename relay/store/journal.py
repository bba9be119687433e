"""The one writer: many works in one durable commit. `submit` returns after the commit, never before."""

import asyncio
import contextlib
import logging
import queue
import random
import select
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Transaction
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from relay.model.errors import StoreError
from relay.store.durability import Unconfirmed, confirmed
from relay.store.hot import run_text

log = logging.getLogger("sluis.store")
KEEP_SECONDS = 1.0
Result = TypeVar("Result")
Item = TypeVar("Item")
Batch = Callable[[Connection, list[Item]], Sequence[Result]]
"""Writes many items of one kind with a few statements, and gives a result for each. What it raises spoils them all: then each is written
alone."""
CONTENDED_TRIES = 5
CONTENDED_SECONDS = 0.05


class _Entry:
    """One work and who waits for it: an asyncio future of some loop, or a thread."""

    __slots__ = ("batch", "future", "item", "loop", "thread")

    def __init__(self, batch: Callable[[Connection, list[Any]], Sequence[Any]], item: Any) -> None:
        self.batch = batch
        self.item = item
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[Any] | None = None
        self.thread: Future[Any] | None = None

    def wanted(self) -> bool:
        """False where whoever waited has given up before the work began."""
        if self.future is not None:
            return not self.future.cancelled()
        assert self.thread is not None
        return self.thread.set_running_or_notify_cancel()

    def settle(self, result: Any, error: BaseException | None) -> None:
        waiting = self.future if self.future is not None else self.thread
        assert waiting is not None
        if waiting.cancelled():
            return
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(result)


_Settled = tuple[_Entry, Any, BaseException | None]


class Journal:
    """`on_fatal` is told when the disk failed under a commit: the process must stop. `gather` is how many seconds a commit waits for more
    works while there are many (as PostgreSQL's commit_delay): what is rare does not wait. `commits` and `works` are for metrics."""

    def __init__(self, engine: Engine, batch: int = 64, on_fatal: Callable[[str], None] | None = None, gather: float = 0.0) -> None:
        self._engine = engine
        self._batch = batch
        self._on_fatal = on_fatal
        self._gather = gather
        self._connection: Connection | None = None
        self._since = 0.0
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._gate = threading.Lock()  # so that nothing is submitted behind the end
        self.commits = 0
        self.works = 0

    def start(self) -> None:
        """Starts the writer thread."""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Connection], Result]) -> Result:
        """Runs `work` in the next commit, and again in one of its own if another work spoilt that. What it raises is raised here;
        StoreError where the database refused or was lost (a lost one may have committed), or the journal is closed."""
        result: Result = await self.submit_to(_one_by_one, work)
        return result

    async def submit_to(self, batch: Batch[Item, Result], item: Item) -> Result:
        """The same for an item of a batch: `batch` is called once in a commit, with all items that were submitted to it."""
        entry = _Entry(batch, item)
        entry.loop = asyncio.get_running_loop()
        entry.future = entry.loop.create_future()
        self._enter(entry)
        result: Result = await entry.future
        return result

    def submit_now(self, work: Callable[[Connection], Result]) -> Result:
        """The same for a caller without an event loop."""
        entry = _Entry(_one_by_one, work)
        entry.thread = Future()
        self._enter(entry)
        result: Result = entry.thread.result()
        return result

    def _enter(self, entry: _Entry) -> None:
        with self._gate:
            if self._closed:
                raise StoreError("the journal is closed")
            self._entries.put(entry)

    @property
    def waiting(self) -> int:
        """Works that no commit has begun for."""
        return self._entries.qsize()

    def close(self) -> None:
        """Commits what was submitted, then ends the thread."""
        with self._gate:
            self._closed = True
            self._entries.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._drop()

    def _run(self) -> None:
        busy = False
        while True:
            first = self._entries.get()
            if first is None:
                return
            entries = [first]
            ending = self._collect(entries)
            if busy and self._gather and not ending and len(entries) < self._batch:
                # Not woken by each that comes: that costs more than the work. time.sleep waits for a moment of a clock, this for a while.
                select.select((), (), (), self._gather)
                ending = self._collect(entries)
            busy = len(entries) > 1
            _tell(self._commit([entry for entry in entries if entry.wanted()]))
            if ending:
                return

    def _collect(self, entries: list[_Entry]) -> bool:
        """What there is; True at the end of all."""
        while len(entries) < self._batch:
            try:
                entry = self._entries.get_nowait()
            except queue.Empty:
                return False
            if entry is None:
                return True
            entries.append(entry)
        return False

    def _commit(self, entries: list[_Entry]) -> list[_Settled]:
        """One transaction. If it fails, each work gets one of its own, so that a bad one takes no other down."""
        if not entries:
            return []
        try:
            results = self._transaction(entries)
        except BaseException as error:  # noqa: BLE001 - handed to whoever submitted the work
            if (len(entries) > 1 or _is_contended(error)) and not _is_lost(error) and not _is_fatal(error):
                return [self._alone(entry) for entry in entries]
            return [(entry, None, self._translate(error)) for entry in entries]
        return [(entry, results[id(entry)], None) for entry in entries]

    def _alone(self, entry: _Entry) -> _Settled:
        for _ in range(CONTENDED_TRIES - 1):
            try:
                return entry, self._transaction([entry])[id(entry)], None
            except BaseException as error:  # noqa: BLE001 - handed to whoever submitted the work
                if not _is_contended(error):
                    return entry, None, self._translate(error)
                time.sleep(random.uniform(0, CONTENDED_SECONDS))  # noqa: S311 - so that the two don't meet again
        try:
            return entry, self._transaction([entry])[id(entry)], None
        except BaseException as error:  # noqa: BLE001 - handed to whoever submitted the work
            return entry, None, self._translate(error)

    def _transaction(self, entries: list[_Entry]) -> dict[int, Any]:
        """The results, by the identity of their entry. Works of one commit are of different messages, so that their order means nothing."""
        batches: dict[Callable[[Connection, list[Any]], Sequence[Any]], list[_Entry]] = {}
        for entry in entries:
            batches.setdefault(entry.batch, []).append(entry)
        fresh = self._connection is None
        connection = self._connected()
        try:
            transaction, results = self._work(connection, batches)
        except DBAPIError as error:
            if fresh or not error.connection_invalidated:
                raise
            # The connection was lost while it rested. Nothing was committed on it: that would have been asked for below.
            connection = self._connected()
            transaction, results = self._work(connection, batches)
        info = connection.info
        try:
            transaction.commit()
        except BaseException:
            self._drop()  # a commit that failed leaves a transaction behind
            raise
        confirmed(info)
        self.commits += 1
        self.works += len(entries)
        return results

    def _work(
        self, connection: Connection, batches: dict[Callable[[Connection, list[Any]], Sequence[Any]], list[_Entry]]
    ) -> tuple[Transaction, dict[int, Any]]:
        """All but the commit; rolled back where it raises."""
        results: dict[int, Any] = {}
        transaction = connection.begin()
        try:
            if connection.dialect.name == "sqlite":
                run_text(connection, "BEGIN IMMEDIATE")
            for batch, members in batches.items():
                done = batch(connection, [entry.item for entry in members])
                results.update((id(entry), result) for entry, result in zip(members, done, strict=True))
        except BaseException:
            transaction.rollback()
            raise
        return transaction, results

    def _connected(self) -> Connection:
        """The same connection for a while: its pages and prepared statements are those of now. Then the pool is asked again, which looks
        whether it was lost meanwhile, and whether its commits can still be believed (relay/store/durability.py)."""
        if self._connection is not None and (self._connection.invalidated or time.monotonic() - self._since > KEEP_SECONDS):
            self._drop()
        if self._connection is None:
            self._connection = self._engine.connect()
            self._since = time.monotonic()
        return self._connection

    def _drop(self) -> None:
        """Back to the pool, rolled back; one that can't be is none any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()

    def _translate(self, error: BaseException) -> BaseException:
        if _is_fatal(error) and self._on_fatal:
            self._on_fatal(f"the disk failed under a commit: {error.args[0]}")
        if isinstance(error, SQLAlchemyError):
            log.error("the store refused a commit", extra={"fields": {"error": str(error.args[0])[:500]}})
            return StoreError(f"the store refused: {error.args[0]}")
        return error


def _one_by_one(connection: Connection, works: list[Callable[[Connection], Any]]) -> list[Any]:
    return [work(connection) for work in works]


def _tell(settled: list[_Settled]) -> None:
    """Each loop is woken once for all that wait in it."""
    loops: dict[asyncio.AbstractEventLoop, list[_Settled]] = {}
    for one in settled:
        entry, result, error = one
        if entry.loop is None:
            entry.settle(result, error)
        else:
            loops.setdefault(entry.loop, []).append(one)
    for loop, waiting in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, waiting)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            log.info("a commit that nobody waits for any more", extra={"fields": {"works": len(waiting)}})


def _settle(waiting: list[_Settled]) -> None:
    for entry, result, error in waiting:
        entry.settle(result, error)


def _is_fatal(error: BaseException) -> bool:
    """SQLITE_IOERR: a sync may have failed, and a second try would believe pages that never reached the disk. PostgreSQL ends then."""
    name = getattr(error.orig, "sqlite_errorname", "") if isinstance(error, OperationalError) else ""
    return str(name or "").startswith("SQLITE_IOERR")


def _is_contended(error: BaseException) -> bool:
    """Two processes got in each other's way, and the database has undone this one: a deadlock, a serialization failure, or a row that the
    other was quicker to make (PostgreSQL documentation, appendix A)."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in ("40001", "40P01", "23505")


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, Unconfirmed) or (isinstance(error, DBAPIError) and error.connection_invalidated)
