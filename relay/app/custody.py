"""The second half of the road, for one claim: inspect and decide again, or sign and deliver; then record what became of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from relay.app.in_force import InForce
from relay.app.memory_reader import MemoryReader
from relay.app.notices import Notices
from relay.decide.answer import custody_state
from relay.deliver.bounce_text import Action
from relay.deliver.custody import after_failure, expired
from relay.deliver.deliverer import Deliverer
from relay.deliver.retry import delay_notice_us, next_attempt_us
from relay.model.decision import Decision, Disposition
from relay.model.delivery import State
from relay.model.errors import PolicyUnavailable, Refusal, StoreError, Withdrawn
from relay.model.message import Body, Claimed, Outcome, Signed, Ticket
from relay.model.ports import BodyReader, Clock
from relay.phases.state import ChangedMeanwhile
from relay.policy.models import Policy, Route
from relay.record import Record
from relay.road import Road
from relay.settings.models import Settings
from relay.sign.signer import Signer
from relay.store.queue import LeaseLost
from relay.store.spool.ports import Spool

log = logging.getLogger("sluis.queue")
WITHDRAWN_US = 1_000_000
ASK_AGAIN_SECONDS = 1.0
UNTOLD_US = 60_000_000
"""After so long a recipient who failed is tried again whose sender could not be told now: a disk that is full, a store that is away."""
PATIENCE_SECONDS = 600.0  # a database that fails over is back long before; nothing can be claimed meanwhile, so that it costs nothing


class Custody:
    """Brings one claim on."""

    def __init__(
        self,
        policies: InForce,
        road: Road,
        signer: Signer,
        deliverer: Deliverer,
        record: Record,
        spool: Spool,
        notices: Notices,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._policies = policies
        self._road = road
        self._signer = signer
        self._deliverer = deliverer
        self._record = record
        self._spool = spool
        self._notices = notices
        self._clock = clock
        self._settings = settings

    async def bring_on(self, claimed: Claimed, body: Body | None = None) -> None:
        """`body` is given while it is in memory, or its key is. Raises LeaseLost, Withdrawn, SpoolError, StoreError, ConfigurationError."""
        policy, epoch = self._policies.current()
        route = next((route for route in policy.routes if route.name == claimed.route), None)
        if route is None or claimed.epoch != epoch:
            await self._decide_again(claimed)
        else:
            await self._deliver(claimed, policy, route, body)

    async def _decide_again(self, claimed: Claimed) -> None:
        message = claimed.message
        policy, epoch = self._policies.current()
        body = Body(message.spool_object, message.size, message.digest, message.body_hash)
        inspection, decision = await self._road.inspect_again(claimed, body, policy, epoch)
        states = self._states(claimed, decision)
        failed = [_refused(claimed, index, decision) for index, state in enumerate(states) if state is State.BOUNCED]
        states = await self._told(claimed, states, failed)
        now_us = self._clock.now_us()
        next_us = next_attempt_us(self._settings.delivery, message.id, 1, now_us, claimed.expires_us) or now_us
        await self._record.redecide(claimed, inspection, decision, states, next_us)
        waiting = [_undecided(ticket, decision, index) for index, ticket in enumerate(claimed.tickets) if states[index] is State.UNDECIDED]
        await self._delays(claimed, waiting, now_us)

    def _states(self, claimed: Claimed, decision: Decision) -> list[State]:
        """As at accept, but that a rejection is carried out here, and that what stays unknown until its end has failed."""
        states = []
        for ticket, verdict in zip(claimed.tickets, decision.verdicts, strict=True):
            state = custody_state(verdict, vouched=claimed.message.vouched)
            over = verdict.deferred and self._clock.now_us() >= claimed.expires_us
            if state is State.UNDECIDED and (verdict.disposition is Disposition.REJECT or over):
                state = after_failure(claimed.message, ticket.recipient)
            states.append(state)
        return states

    async def _told(self, claimed: Claimed, states: Sequence[State], failed: Sequence[Outcome]) -> list[State]:
        """Bounces are in the record before the deliveries are called bounced: a crash between repeats one, and loses none."""
        if failed:
            await self._record.check_lease(claimed)  # whoever has taken it over bounces it
        if not failed or await self._notices.send(Action.FAILED, claimed, failed):
            return list(states)
        return [State.UNDELIVERABLE if state is State.BOUNCED else state for state in states]

    async def _deliver(self, claimed: Claimed, policy: Policy, route: Route, body: Body | None) -> None:
        read = await self._content(claimed.message.spool_object, body)
        reader = read()
        try:
            signed = self._signer.sign(claimed, policy, reader, self._hostname, self._clock.now_us())
        finally:
            reader.close()
        marked = _Marked(self._before_final_dot, signed)
        outcomes = await self._deliverer.deliver(signed, route, read, marked)
        if not any(outcome.attempted for outcome in outcomes):
            raise Withdrawn("the epoch changed, or the lease was lost")
        await self._conclude(signed, route, outcomes)

    async def _content(self, name: str, body: Body | None) -> Callable[[], BodyReader]:
        """What is still in memory is not read again; what the key is known of needs no private key."""
        if body is not None and body.bytes is not None:
            return partial(MemoryReader, body.bytes)
        return await self._spool.fetch(name, body.key if body is not None else None)

    @property
    def _hostname(self) -> str:
        return self._settings.delivery.hostname or self._settings.hostname

    async def _before_final_dot(self, signed: Signed, first: bool) -> None:
        """The durable mark; raises Withdrawn where the message may not leave any more. Phase and brake are looked at again in the
        transaction of the mark, so that what another process has changed counts at once."""
        try:
            if self._policies.current()[1] != signed.claimed.epoch:
                raise Withdrawn("the epoch changed")
            await self._record.mark(signed.claimed, self._policies.fences(), first=first)
        except (LeaseLost, ChangedMeanwhile, PolicyUnavailable) as error:
            raise Withdrawn(str(error)) from None

    async def _conclude(self, signed: Signed, route: Route, outcomes: list[Outcome]) -> None:
        claimed = signed.claimed
        now_us = self._clock.now_us()
        tickets = {ticket.ordinal: ticket for ticket in claimed.tickets}
        next_us: dict[int, int] = {}
        final: list[Outcome] = []
        for outcome in outcomes:
            ticket = tickets[outcome.ordinal]
            if outcome.state is State.READY and not outcome.attempted:  # withdrawn by us: decided again first
                next_us[outcome.ordinal] = now_us + WITHDRAWN_US
            elif outcome.state is State.READY:
                attempts = max(ticket.attempts, 1) if outcome.rest else ticket.attempts + 1
                due = next_attempt_us(self._settings.delivery, claimed.message.id, attempts, now_us, claimed.expires_us)
                if due is None:
                    outcome = expired(claimed.message, ticket, outcome)
                else:
                    next_us[outcome.ordinal] = max(due, now_us + int(outcome.rest * 1e6))
            final.append(outcome)
        if bounced := [outcome for outcome in final if outcome.state is State.BOUNCED]:
            failed = await self._bounced(claimed, bounced)
            final = [replace(outcome, state=failed) if outcome.state is State.BOUNCED else outcome for outcome in final]
            if failed is State.READY:
                next_us |= {outcome.ordinal: now_us + UNTOLD_US for outcome in bounced}
        await self._recorded(signed, final, next_us)
        # RFC 3464 §2.3.3: behind LMTP are mailboxes, and nobody who could tell more.
        done = Action.DELIVERED if route.lmtp else Action.RELAYED
        await self._tell(done, claimed, [outcome for outcome in final if outcome.state is State.DELIVERED])
        await self._delays(claimed, [outcome for outcome in final if outcome.state is State.READY], now_us)

    async def _bounced(self, claimed: Claimed, failed: Sequence[Outcome]) -> State:
        """What becomes of recipients who failed, when their sender was told or could not be. READY: not now, so that they are tried again;
        what became of the others is recorded all the same, for they would have the message twice otherwise. Raises LeaseLost."""
        try:
            await self._record.check_lease(claimed)
            return State.BOUNCED if await self._notices.send(Action.FAILED, claimed, failed) else State.UNDELIVERABLE
        except (Refusal, StoreError, OSError) as error:
            _untold(claimed, error)
            return State.READY

    async def _tell(self, action: Action, claimed: Claimed, outcomes: Sequence[Outcome]) -> bool:
        """Of what is recorded already: False where it could not be told now."""
        try:
            return await self._notices.send(action, claimed, outcomes)
        except (Refusal, StoreError, OSError) as error:
            _untold(claimed, error)
            return False

    async def _recorded(self, signed: Signed, outcomes: Sequence[Outcome], next_us: Mapping[int, int]) -> None:
        """A store that is full or away for a while is asked again: what the next hop has answered would be sent twice otherwise. Raises
        LeaseLost, also where a commit whose answer was lost has been made; StoreError after PATIENCE_SECONDS."""
        give_up_us = self._clock.now_us() + int(PATIENCE_SECONDS * 1e6)
        while True:
            try:
                return await self._record.outcomes(signed, outcomes, next_us)
            except StoreError as error:
                if self._clock.now_us() >= give_up_us:
                    raise
                fields = {"message": signed.claimed.message.id.hex, "error": str(error)}
                log.error("an outcome can't be recorded now", extra={"fields": fields})
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _delays(self, claimed: Claimed, late: Sequence[Outcome], now_us: int) -> None:
        """Once for each recipient, when the time has come (RFC 3461 §4.1)."""
        if now_us < delay_notice_us(self._settings.delivery, claimed.message.received_us):
            return
        untold = {ticket.ordinal for ticket in claimed.tickets if not ticket.delay_notified}
        due = [outcome for outcome in late if outcome.ordinal in untold]
        if due and await self._tell(Action.DELAYED, claimed, due):
            await self._record.delay_notified(claimed, [outcome.ordinal for outcome in due])

    async def unreadable(self, claimed: Claimed, reason: str) -> None:
        """The body is missing or altered: never delivered, never dropped; a person must look."""
        outcomes = [
            Outcome(ticket.ordinal, State.UNDELIVERABLE, f"the stored body can't be used: {reason}", "5.3.0", attempted=False)
            for ticket in claimed.tickets
        ]
        await self._record.outcomes(Signed(claimed, b""), outcomes, {})


class _Marked:
    """A claim over MX has several final dots: each is asked for, and they are one attempt."""

    def __init__(self, mark: Callable[[Signed, bool], Awaitable[None]], signed: Signed) -> None:
        self._mark = mark
        self._signed = signed
        self._lock = asyncio.Lock()
        self._done = False

    async def __call__(self) -> None:
        async with self._lock:
            await self._mark(self._signed, not self._done)
            self._done = True


def _untold(claimed: Claimed, error: Exception) -> None:
    fields = {"message": claimed.message.id.hex, "error": str(error)}
    log.error("a sender can't be told now", extra={"fields": fields})


def _undecided(ticket: Ticket, decision: Decision, index: int) -> Outcome:
    """What a delay notice says of a recipient that could not be decided yet."""
    reply = f"451 4.7.1 Can't be decided now: {decision.verdicts[index].because}"
    return Outcome(ticket.ordinal, State.READY, reply, "4.7.1", attempted=False)


def _refused(claimed: Claimed, index: int, decision: Decision) -> Outcome:
    """What a bounce says of a rejection in custody: no rule (RFC 3463 §3.8, X.7.1)."""
    deferred = decision.verdicts[index].deferred
    reply = "554 5.4.7 Could not be decided in time" if deferred else "550 5.7.1 Refused by policy"
    return Outcome(claimed.tickets[index].ordinal, State.BOUNCED, reply, "5.4.7" if deferred else "5.7.1", attempted=False)
