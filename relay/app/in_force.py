"""The policy, phase and brake of this moment, for the whole process: changed in one assignment, between messages.

What is in force is said by the store, for all machines: a start or a reload puts a policy folder there, and every process takes policy,
phase and brake from there. A process that can't build the policy of the store decides nothing: it never works under another one.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy import Connection

from relay.app.policy_source import Checked, Source, load
from relay.decide import prepare
from relay.judge import Alert
from relay.model.decision import Epoch
from relay.model.errors import ConfigurationError, PolicyUnavailable
from relay.model.ports import Clock
from relay.phases import change
from relay.phases import state as phase_state
from relay.phases.state import ChangedMeanwhile, Fences, PhaseState
from relay.policy.models import Policy
from relay.receive.replies import POLICY_UNAVAILABLE
from relay.store import policies
from relay.store.journal import Journal
from relay.store.reader import Reader

log = logging.getLogger("sluis.policy")
RETRY_SECONDS = 10.0
"""Between tries to build a policy that could not be built here."""


class InForce:
    """`on_change` is awaited after the epoch has changed. `owner` names the process in events."""

    def __init__(
        self,
        source: Source,
        journal: Journal,
        reader: Reader,
        clock: Clock,
        alert: Alert,
        owner: str,
    ) -> None:
        self._source = source
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._alert = alert
        self._owner = owner
        self._policy: Policy | None = None
        self._why_not = "no policy is in force yet; a process that delivers puts one in force"
        self._state = PhaseState(None, False, "", 0, 0)
        self._retry_at = 0.0
        self._untold = False
        self._turn = asyncio.Lock()
        self.on_change: Callable[[], Awaitable[None]] | None = None

    def read(self) -> Checked | None:
        """Reads the policy folder, and changes nothing. None where this process puts none in force. Raises ConfigurationError for a bad
        one."""
        return self._source.read()

    async def start(self) -> None:
        """Puts the folder in force, or takes what is in force from the store. Raises ConfigurationError for a bad folder."""
        checked = await asyncio.to_thread(self._source.read_at_start)
        if checked is not None and await self._journal.submit(partial(self._wins, checked=checked)):
            with contextlib.suppress(ChangedMeanwhile):  # another machine, at this moment: its policy is in force
                await self.put(checked)
        await self.refresh()

    def _wins(self, connection: Connection, checked: Checked) -> bool:
        """Whether the folder is put in force at the start: where the store has no policy yet, where this is the only process there can be,
        and where the folder was changed since this machine last looked. Else what was applied elsewhere, later, stays."""
        in_force = phase_state.read(connection).policy
        seen = policies.last_seen(connection, self._source.name)
        if in_force is None or self._source.alone or seen not in (None, checked.policy.digest):
            return True
        policies.note_seen(connection, self._source.name, checked.policy.digest)
        if in_force != checked.policy.digest:
            fields = {"folder": checked.policy.digest, "in_force": in_force, "hint": "SIGHUP puts the folder in force"}
            log.warning("the policy folder is not what is in force", extra={"fields": fields})
        return False

    async def put(self, checked: Checked) -> None:
        """It is in force when this returns: here, and on all machines as soon as they look. Raises ChangedMeanwhile."""
        now_us = self._clock.now_us()

        def work(connection: Connection) -> None:
            policies.keep(connection, checked.policy.digest, checked.files, now_us)
            policies.note_seen(connection, self._source.name, checked.policy.digest)
            change.set_policy(connection, checked.policy.digest, self._owner, f"from {self._source.name}", now_us)

        await self._journal.submit(work)
        await self._look(known=checked.policy)

    async def refresh(self) -> None:
        """Sees what another process has changed: policy, phase and brake."""
        await self._look()

    async def _look(self, known: Policy | None = None) -> None:
        async with self._turn:
            state = await self._reader.read(phase_state.read)
            before = self._state, self._policy
            policy = await self._policy_of(state, known)
            if policy is not None and policy is not before[1]:
                await asyncio.to_thread(prepare, policy)
            self._state, self._policy = state, policy
            if (state, policy) != before or self._untold:
                await self._changed()

    async def _policy_of(self, state: PhaseState, known: Policy | None) -> Policy | None:
        """The policy that `state` names; None where it can't be had here."""
        for policy in (self._policy, known):
            if policy is not None and policy.digest == state.policy:
                return policy
        if state.policy is None or (state.policy == self._state.policy and time.monotonic() < self._retry_at):
            return None
        try:
            return await load(self._reader, state.policy)
        except ConfigurationError as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._why_not = f"policy {state.policy} is in force, and can't be used here: {'; '.join(error.problems)[:1000]}"
            if state.policy != self._state.policy:
                self._alert("policy-unavailable", policy=state.policy, problems=error.problems[:20])
            return None

    async def _changed(self) -> None:
        told = str(self.current()[1]) if self._policy else self._why_not
        log.info("epoch changed", extra={"fields": {"epoch": told}})
        self._untold = True  # until it went through: a store that failed in between is asked again at the next refresh
        if self.on_change is not None:
            await self.on_change()
        self._untold = False

    def fences(self) -> Fences:
        """Of the policy, phase and brake that `current` tells."""
        return self._state.fences

    def unavailable(self) -> str:
        """Why nothing can be decided here; empty where it can."""
        return "" if self._policy else self._why_not

    def stopped(self) -> bool:
        """Nothing may leave: the brake is on, or nobody here knows what may."""
        return self._policy is None or self._state.brake

    def current(self) -> tuple[Policy, Epoch]:
        """Both of one moment. Raises PolicyUnavailable."""
        if self._policy is None:
            raise PolicyUnavailable(POLICY_UNAVAILABLE, self._why_not)
        phases = self._policy.organisation.phases
        # A phase that the policy has no more is the first one: the most closed.
        phase = self._state.phase if self._state.phase in phases else phases[0]
        return self._policy, Epoch(self._policy.digest, phase or phases[0], self._state.brake)
