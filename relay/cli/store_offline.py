"""What restore, rebuild and migrate share: the relay is stopped, and who does it is named."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from relay.audit.event import make_event, write
from relay.control.actor import actor_of
from relay.control.client import ask
from relay.model.errors import OperationRefused, RelayDown, StoreError
from relay.model.ports import SystemClock
from relay.phases import change
from relay.settings.models import Settings
from relay.store.engine import WriterLock, sqlite_path

ORIGIN = "command line"


@contextmanager
def stopped(settings: Settings) -> Iterator[None]:
    """The relay of these settings does not run, and on SQLite none can be started meanwhile. Raises StoreError."""
    database = sqlite_path(settings.store)
    lock = WriterLock(database) if database is not None else None
    if lock is not None:
        lock.acquire()
    try:
        if lock is None and _answers(settings):
            raise StoreError(f"the relay runs (it answers on {settings.control.socket}): stop it first, on every machine")
        yield
    finally:
        if lock is not None:
            lock.release()


def _answers(settings: Settings) -> bool:
    try:
        ask(settings, "phase.show", {})
    except RelayDown:
        return False
    except (OperationRefused, StoreError):
        return True
    return True


def who(settings: Settings) -> str:
    """The caller, as the kernel says."""
    return actor_of(os.getuid(), settings.control).name


def tell(connection: Connection, kind: str, actor: str, *, object_: str, result: str, reason: str, details: dict[str, object]) -> None:
    """One event about the whole store."""
    time_us = SystemClock().now_us()
    told = make_event(kind, object_=object_, result=result, origin=ORIGIN, actor=actor, time_us=time_us, reason=reason, details=details)
    write(connection, [told])


def pull_brake(connection: Connection, actor: str, reason: str) -> None:
    """Nothing leaves until a person has looked."""
    change.hold_brake(connection, actor, reason, SystemClock().now_us(), ORIGIN)
