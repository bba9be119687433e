"""With the relay down a command takes the writer's lock, and does the same itself."""

import os
from functools import partial
from typing import Any

from relay.control.actor import actor_of
from relay.control.operation import Operation, Services, perform
from relay.model.decision import Epoch
from relay.model.errors import SluisError, StoreError
from relay.model.ports import SystemClock
from relay.phases import state as phase_state
from relay.policy.load import build, load_policy
from relay.policy.models import Policy
from relay.settings.models import Settings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store import policies, schema
from relay.store.engine import WriterLock, check_durability, must_be_made, open_engine, sqlite_path
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.spool.open import open_spool


async def perform_here(settings: Settings, operation: Operation, params: dict[str, Any]) -> dict[str, Any]:
    """The answer of the operation, by whoever called, who needs the rights on the files for it. Raises SluisError."""
    database = sqlite_path(settings.store)
    lock = WriterLock(database) if database is not None else None
    try:
        must_be_made(settings.store)
        if lock is not None:
            _take(lock, settings)
        engine = open_engine(settings.store)
        try:
            schema.check_schema(engine)
            check_durability(engine)
            journal, reader = Journal(engine), Reader(engine)
            journal.start()
            try:
                return await _perform(settings, operation, params, journal, reader)
            finally:
                journal.close()
                reader.close()
        finally:
            engine.dispose()
    except OSError as error:
        raise SluisError(f"the relay is down, and its files can't be used: {error}") from None
    finally:
        if lock is not None:
            lock.release()


def _take(lock: WriterLock, settings: Settings) -> None:
    """Raises StoreError: who holds the lock serves another socket, or is about to start or stop."""
    try:
        lock.acquire()
    except StoreError as error:
        where = f"does not answer on {settings.control.socket}"
        hint = "was it started with other settings (control.socket), or is it starting or stopping?"
        raise StoreError(f"{error}, which {where}: {hint}") from None


async def _policy(settings: Settings, reader: Reader, in_force: str | None) -> Policy:
    """What the relay would work under: what the store says, but where it puts its folder in force at each start."""
    folder_wins = settings.policy.source != "approved" and sqlite_path(settings.store) is not None
    if in_force is not None and not folder_wins:
        files = await reader.read(partial(policies.files_of, digest=in_force))
        if files is not None:
            return build(files)
    return load_policy(settings.policies)


async def _perform(settings: Settings, operation: Operation, params: dict[str, Any], journal: Journal, reader: Reader) -> dict[str, Any]:
    state = await reader.read(phase_state.read)
    policy = await _policy(settings, reader, state.policy)
    phases = policy.organisation.phases
    epoch = Epoch(policy.digest, state.phase if state.phase in phases else phases[0], state.brake)
    spool = open_spool(settings.spool, RelaxedBodyHash)

    def in_force() -> tuple[Policy, Epoch]:
        return policy, epoch

    async def changed() -> None:
        return  # the relay sees it when it starts

    services = Services(settings, journal, reader, spool, SystemClock(), in_force, changed)
    try:
        return await perform(operation, services, actor_of(os.getuid(), settings.control), params)
    finally:
        spool.close()
