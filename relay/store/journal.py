"""The one writer: many works in one durable commit. `submit` returns after the commit, never before."""

import asyncio
import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from relay.model.errors import StoreError
from relay.store.durability import Unconfirmed, confirmed

log = logging.getLogger("sluis.store")
Result = TypeVar("Result")
CONTENDED_TRIES = 5
CONTENDED_SECONDS = 0.05
_Entry = tuple[Callable[[Connection], Any], "Future[Any]"]


class Journal:
    """`on_fatal` is told when the disk failed under a commit: the process must stop. `commits` and `works` are for metrics."""

    def __init__(self, engine: Engine, batch: int = 64, on_fatal: Callable[[str], None] | None = None) -> None:
        self._engine = engine
        self._batch = batch
        self._on_fatal = on_fatal
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
        return await asyncio.wrap_future(self._enter(work))

    def submit_now(self, work: Callable[[Connection], Result]) -> Result:
        """The same for a caller without an event loop."""
        return self._enter(work).result()

    def _enter(self, work: Callable[[Connection], Result]) -> "Future[Result]":
        future: Future[Result] = Future()
        with self._gate:
            if self._closed:
                raise StoreError("the journal is closed")
            self._entries.put((work, future))
        return future

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

    def _run(self) -> None:
        while True:
            first = self._entries.get()
            if first is None:
                return
            batch = [first]
            ending = False
            while len(batch) < self._batch:
                try:
                    entry = self._entries.get_nowait()
                except queue.Empty:
                    break
                if entry is None:
                    ending = True
                    break
                batch.append(entry)
            self._commit(batch)
            if ending:
                return

    def _commit(self, batch: list[_Entry]) -> None:
        """One transaction. If it fails, each work gets one of its own, so that a bad one takes no other down."""
        batch = [entry for entry in batch if entry[1].set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            results = self._transaction([work for work, _ in batch])
        except BaseException as error:  # noqa: BLE001 - handed to whoever submitted the work
            if (len(batch) > 1 or _is_contended(error)) and not _is_lost(error) and not _is_fatal(error):
                for work, future in batch:
                    self._alone(work, future)
                return
            for _, future in batch:
                future.set_exception(self._translate(error))
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)

    def _alone(self, work: Callable[[Connection], Any], future: "Future[Any]") -> None:
        for tried in range(1, CONTENDED_TRIES + 1):
            try:
                result = self._transaction([work])[0]
            except BaseException as error:  # noqa: BLE001 - handed to whoever submitted the work
                if not _is_contended(error) or tried == CONTENDED_TRIES:
                    future.set_exception(self._translate(error))
                    return
                time.sleep(random.uniform(0, CONTENDED_SECONDS))  # noqa: S311 - so that the two don't meet again
            else:
                future.set_result(result)
                return

    def _transaction(self, works: list[Callable[[Connection], Any]]) -> list[Any]:
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            results = [work(connection) for work in works]
            info = connection.info
        confirmed(info)
        self.commits += 1
        self.works += len(works)
        return results

    def _translate(self, error: BaseException) -> BaseException:
        if _is_fatal(error) and self._on_fatal:
            self._on_fatal(f"the disk failed under a commit: {error.args[0]}")
        if isinstance(error, SQLAlchemyError):
            log.error("the store refused a commit", extra={"fields": {"error": str(error.args[0])[:500]}})
            return StoreError(f"the store refused: {error.args[0]}")
        return error


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
