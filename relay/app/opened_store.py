"""Opens the store of this process: refuses one that could not keep promise 1, or that another process owns."""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from sqlalchemy import Engine

from relay.settings.models import Store
from relay.store import queue, schema
from relay.store.durability import check_standby, doubts
from relay.store.engine import WriterLock, check_durability, open_engine, sqlite_path
from relay.store.journal import Journal
from relay.store.reader import Reader

log = logging.getLogger("sluis.app")


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """One writer, the journal, and the reads beside it. `alone`: no other process can have it open, as SQLite belongs to one."""

    engine: Engine
    journal: Journal
    reader: Reader
    alone: bool


def open_store(settings: Store, stack: AsyncExitStack, on_fatal: Callable[[str], None]) -> OpenedStore:
    """What is opened is closed by `stack`, the lock last. `on_fatal` is called from the journal's thread when the disk is not to be
    trusted any more. Raises StoreError."""
    database = sqlite_path(settings)
    if database is not None:
        lock = WriterLock(database)
        lock.acquire()
        stack.callback(lock.release)
    engine = open_engine(settings)
    stack.callback(engine.dispose)
    schema.check_schema(engine)
    check_durability(engine)
    check_standby(engine, settings.standby)
    _warn_of_doubts(engine, settings.standby)
    journal = Journal(engine, settings.batch_messages, on_fatal, settings.gather)
    journal.start()
    stack.callback(journal.close)
    reader = Reader(engine)
    stack.callback(reader.close)
    if database is not None:
        journal.submit_now(queue.end_leases)  # nobody is left who could hold one
    return OpenedStore(engine, journal, reader, alone=database is not None)


def _warn_of_doubts(engine: Engine, standby: str) -> None:
    with engine.connect() as connection:
        for doubt in doubts(connection, standby):
            log.warning("a failover would lose mail", extra={"fields": {"reason": doubt}})
