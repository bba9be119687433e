"""The policy, phase and brake of this moment, for the whole process: changed in one assignment, between messages."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from relay.model.decision import Epoch
from relay.model.ports import Clock
from relay.phases import state as phase_state
from relay.phases.state import Fences, PhaseState
from relay.policy.load import build, read_files
from relay.policy.models import Policy
from relay.settings.models import Settings
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.tables import PolicyVersion

log = logging.getLogger("sluis.policy")
VERSION = PolicyVersion.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy that may come into force, and the files that it was read from."""

    policy: Policy
    files: dict[str, str]


class InForce:
    """`on_change` is awaited after the epoch has changed."""

    def __init__(self, settings: Settings, journal: Journal, reader: Reader, clock: Clock) -> None:
        self._settings = settings
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._policy: Policy | None = None
        self._state = PhaseState(None, False, "", 0, 0)
        self._untold = False
        self.on_change: Callable[[], Awaitable[None]] | None = None

    def read(self) -> Checked:
        """Reads the policy folder, and changes nothing. Raises ConfigurationError for a bad one."""
        files = read_files(self._settings.policies)
        return Checked(build(files, self._settings.policies), files)

    async def put(self, checked: Checked) -> None:
        """It is in force when this returns."""
        policy = checked.policy
        await self._journal.submit(lambda connection: _keep(connection, policy.digest, checked.files, self._clock.now_us()))
        changed = self._policy is not None and self._policy.digest != policy.digest
        self._policy = policy
        if changed:
            await self._changed()

    async def refresh(self) -> None:
        """Sees what another process has changed: phase and brake."""
        state = await self._reader.read(phase_state.read)
        if state != self._state or self._untold:
            self._state = state
            await self._changed()

    async def _changed(self) -> None:
        log.info("epoch changed", extra={"fields": {"epoch": str(self.current()[1])}})
        self._untold = True  # until it went through: a store that failed in between is asked again at the next refresh
        if self.on_change is not None:
            await self.on_change()
        self._untold = False

    def fences(self) -> Fences:
        """Of the phase and brake that `current` tells."""
        return self._state.fences

    def current(self) -> tuple[Policy, Epoch]:
        """Both of one moment."""
        assert self._policy is not None
        phases = self._policy.organisation.phases
        # A phase that the policy has no more is the first one: the most closed.
        phase = self._state.phase if self._state.phase in phases else phases[0]
        return self._policy, Epoch(self._policy.digest, phase or phases[0], self._state.brake)


def _keep(connection: Connection, digest: str, files: dict[str, str], now_us: int) -> None:
    """Every policy that was ever in force stays readable."""
    if connection.execute(select(VERSION.c.digest).where(VERSION.c.digest == digest)).first() is None:
        connection.execute(insert(VERSION).values(digest=digest, files=files, first_us=now_us))
