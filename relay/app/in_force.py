"""The policy, phase and brake of this moment, for the whole process: changed in one assignment, between messages.

What is in force is said by the store, for all machines: a policy that was approved comes there, or a folder at a start or a reload, as the
settings say, and every process takes policy, phase and brake from there. A process that can't build the policy of the store decides
nothing: it never works under another one.
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
from relay.model.ids import new_id
from relay.model.ports import Clock
from relay.phases import change
from relay.phases import state as phase_state
from relay.phases.state import ChangedMeanwhile, Fences, PhaseState
from relay.policy.models import Policy
from relay.receive.replies import POLICY_UNAVAILABLE
from relay.rehearsal.tested import NOT_RUN, Ran
from relay.store import policies, rollouts
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

    async def candidate(self) -> tuple[Checked, Ran] | None:
        """What the folder holds, with its tests run, where the folder may say what is in force; None where it may not, or this process puts
        none in force. Changes nothing. Raises ConfigurationError for a bad one, and where its tests fail."""
        in_force = (await self._reader.read(phase_state.read)).policy
        if self._source.approved and in_force is not None:
            await self._say_where_it_differs(in_force)
            return None
        checked = await asyncio.to_thread(self._source.read)
        if checked is None:
            return None
        return checked, await self._tested(checked, in_force)

    async def start(self) -> None:
        """Puts the folder in force where it may, or takes what is in force from the store. Raises ConfigurationError for a bad folder where
        there is nothing else."""
        in_force = (await self._reader.read(phase_state.read)).policy
        if self._source.approved and in_force is not None:
            await self._say_where_it_differs(in_force)
        else:
            checked = await asyncio.to_thread(self._source.read_at_start)
            if checked is not None and await self._journal.submit(partial(self._wins, checked=checked)):
                await self._take_at_start(checked, in_force)
        await self.refresh()

    async def _take_at_start(self, checked: Checked, in_force: str | None) -> None:
        try:
            ran = await self._tested(checked, in_force)
        except ConfigurationError as error:
            self._alert("policy-refused", folder=checked.policy.digest, problems=error.problems[:20])
            return  # what was in force stays
        with contextlib.suppress(ChangedMeanwhile):  # another machine, at this moment: its policy is in force
            await self.put(checked, ran)

    async def _tested(self, checked: Checked, in_force: str | None) -> Ran:
        """Raises ConfigurationError. The first policy of a store is not tested: without one nothing could be accepted at all."""
        if in_force in (None, checked.policy.digest):
            return NOT_RUN
        ran = await self._source.tested(checked, self._clock.now_us())
        if ran.failures:
            raise ConfigurationError(list(ran.failures))
        return ran

    async def _say_where_it_differs(self, in_force: str) -> None:
        """The folder is a working copy, which may be wrong or away."""
        if not self._source.applies:
            return
        differs = await asyncio.to_thread(self._source.differs, in_force)
        if differs:
            self._alert("policy-not-approved", folder=differs, in_force=in_force, hint="sluis policy diff, sluis policy propose")

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

    async def put(self, checked: Checked, ran: Ran = NOT_RUN) -> None:
        """It is in force when this returns: here, and on all machines as soon as they look. Raises ChangedMeanwhile."""
        now_us = self._clock.now_us()
        await self._journal.submit(partial(self._put, checked=checked, ran=ran, now_us=now_us))
        await self._look(known=checked.policy)

    def _put(self, connection: Connection, checked: Checked, ran: Ran, now_us: int) -> None:
        digest, reason, before = checked.policy.digest, f"from {self._source.name}", phase_state.read(connection).policy
        policies.keep(connection, digest, checked.content.files, now_us)
        policies.note_seen(connection, self._source.name, digest)
        if change.set_policy(connection, digest, self._owner, reason, now_us):
            rollouts.add(
                connection,
                id=new_id(),
                digest=digest,
                before=before,
                origin=rollouts.FOLDER,
                author=self._owner,
                reason=reason,
                asked_us=now_us,
                tests=checked.content.tests_text,
                tested=ran.as_json(),
                live_us=now_us,
            )

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
