"""Writes what happened to a message: each method is one durable commit, done when it returns (promises 1 and 2)."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, update

from relay.audit.event import NewEvent, make_event, write
from relay.model.client import Peer
from relay.model.decision import Decision
from relay.model.delivery import QUEUED, State
from relay.model.envelope import Recipient, Sender
from relay.model.errors import ClientLeft, SpoolError
from relay.model.features import Inspection
from relay.model.message import Adopted, Claimed, Decided, Outcome, Received, Recorded, Signed
from relay.model.ports import Clock
from relay.model.reply import Reply
from relay.model.text import printable
from relay.phases.state import Fences
from relay.record import accepting
from relay.record.accepting import Acceptance, acceptance
from relay.record.adoption import Adoption
from relay.record.concluding import Conclusion, conclude, ends_of, outcome_details
from relay.record.first_claims import FirstClaims, Lease, NobodyDelivers, first_claims
from relay.record.marking import Marking, mark
from relay.record.redeciding import Redecision, redecide, redecided_details
from relay.record.rows import accepted_details, message_row, queue_row
from relay.store import queue
from relay.store.journal import Journal
from relay.store.queue import LeaseLost
from relay.store.spool.ports import Spool
from relay.store.tables import Queue

log = logging.getLogger("sluis.record")
QUEUE = Queue.__table__  # type: ignore[attr-defined]


class Record:
    """`expiry_us` is how long a delivery may stay in the queue; `retry_us` when what was deferred is decided again."""

    def __init__(self, journal: Journal, spool: Spool, clock: Clock, hostname: str, expiry_us: int, retry_us: int) -> None:
        self._journal = journal
        self._spool = spool
        self._clock = clock
        self._actor = f"relay {hostname}"
        self.adoption = Adoption(journal, clock, self._actor)
        self.first_claims: FirstClaims = NobodyDelivers()
        self._expiry_us = expiry_us
        self._retry_us = retry_us

    async def accept(self, decided: Decided, states_: Sequence[State], codes: tuple[int, ...] = (250,)) -> Recorded | Adopted:
        """Takes custody: the body is durable first, then message, deliveries, queue and event in one commit; with the first claim on what
        may leave at once, where somebody here has time for it. `codes` are those of the replies that the client will hear. Adopted: it is
        in custody already, and its client had not heard so. Raises ClientLeft where there is no client to hear it: nothing is kept then."""
        received = decided.inspected.received
        event = self._event("accepted", received, accepted_details(decided, states_), result="accepted", reason=_because(decided.decision))
        manifest = {"event": event.canonical.decode(), "commitment": event.commitment.hex()}
        kept = await self._spool.seal(received.body, manifest)
        lease = self.first_claims.reserve() if State.READY in states_ else None
        try:
            queued = [self._queue_row(decided, index, state, lease) for index, state in enumerate(states_) if state in QUEUED]
            message = message_row(decided, "250", event.commitment.hex(), kept)
            item = acceptance(decided, states_, message, queued, event, codes, self.adoption.since_us)
            first = await self._commit(received, item, codes)
        except ClientLeft:
            self.first_claims.release(lease)
            await self._let_go(partial(self._spool.discard, kept), kept)
            raise
        except BaseException:
            self.first_claims.release(lease)
            raise
        if first is not None:
            self.first_claims.release(lease)
            await self._let_go(partial(self._spool.discard, kept), kept)
            return first
        self.first_claims.take(lease, first_claims(decided, states_, event.commitment.hex(), kept, queued), received.body)
        return Recorded(decided, event.commitment.hex(), tuple(states_))

    async def _commit(self, received: Received, item: Acceptance, codes: tuple[int, ...]) -> Adopted | None:
        """A client that has only shut down its side is still answered, and what it sent is taken."""
        try:
            return await self.adoption.commit(received, accepting.accept, item)
        except ClientLeft:
            if received.hearing is None or not await received.hearing.hears(codes[0]):
                raise
        return await self.adoption.commit(received, accepting.accept, replace(item, left=None))

    def _queue_row(self, decided: Decided, index: int, state: State, lease: Lease | None) -> dict[str, Any]:
        received_us = decided.inspected.received.received_us
        next_us = received_us + (self._retry_us if decided.decision.verdicts[index].deferred else 0)
        return queue_row(decided, index, state, received_us + self._expiry_us, next_us, lease if state is State.READY else None)

    async def refuse(self, decided: Decided, reply: Reply, reason: str) -> Adopted | None:
        """A message that was refused after DATA: its row and features, and no body unless a rule keeps it as evidence. Adopted: it is in
        custody already, and its client had not heard so: to refuse it now would be a lie."""
        received = decided.inspected.received
        refused = [State.REFUSED] * len(received.envelope.recipients)
        details = accepted_details(decided, refused) | {"reply": str(reply)}
        event = self._event("refused", received, details, result=str(reply.code), reason=reason)
        evidence = await self._evidence(decided, event)
        message = message_row(decided, str(reply), event.commitment.hex(), evidence)
        item = acceptance(decided, refused, message, (), event, (), self.adoption.since_us)
        first = await self.adoption.commit(received, accepting.refuse, item)
        if evidence is None:
            await self._let_go(partial(self._spool.drop, received.body), received.body.object)
        elif first is not None:
            await self._let_go(partial(self._spool.discard, evidence), evidence)
        return first

    async def _evidence(self, decided: Decided, event: NewEvent) -> str | None:
        """The sealed body of a message that is refused, where a rule keeps it; nothing leads from there to anybody's mailbox."""
        if not any(verdict.effects.keep for verdict in decided.decision.verdicts):
            return None
        manifest = {"event": event.canonical.decode(), "commitment": event.commitment.hex()}
        return await self._spool.seal(decided.inspected.received.body, manifest)

    async def _let_go(self, remove: Callable[[], None], name: str) -> None:
        """A body that nobody needs: what the client hears is decided, and a disk that does not let go of it leaves it to the sweep."""
        try:
            await asyncio.to_thread(remove)
        except (OSError, SpoolError) as error:
            log.error("a body that was refused is left for the sweep", extra={"fields": {"object": name, "error": str(error)}})

    async def refusal(self, peer: Peer, sender: Sender | None, recipient: Recipient | None, reply: Reply, reason: str) -> None:
        """An event for what was refused before DATA."""
        event = make_event(
            "refused",
            object_=printable(f"from <{sender or ''}> to <{recipient}>" if recipient else f"from <{sender}>" if sender else "connection"),
            result=str(reply.code),
            origin=f"{peer.listener} [{peer.address}]",
            actor=self._actor,
            time_us=self._clock.now_us(),
            reason=printable(reason),
            details={"reply": str(reply), "helo": printable(peer.helo), "login": printable(peer.login or "")},
        )
        await self._journal.submit(lambda connection: write(connection, [event]))

    async def mark(self, claimed: Claimed, fences: Fences, *, first: bool = True) -> None:
        """Before each final dot: the lease is ours, policy, phase and brake are those of `fences`, and from the first one on the record
        says that the message may have left. Raises LeaseLost, ChangedMeanwhile."""

        lease_until_us = await self._journal.submit_to(mark, Marking(claimed, fences, self._clock, first))
        if self._clock.now_us() >= lease_until_us:  # a process that was stopped for a while: another may be at it
            raise LeaseLost(f"the lease on {claimed.message.id.hex} ran out while the attempt was marked")

    async def redecide(self, claimed: Claimed, inspection: Inspection, decision: Decision, states_: Sequence[State], next_us: int) -> None:
        """What was inspected and decided again. Raises LeaseLost."""
        now_us = self._clock.now_us()
        details = redecided_details(claimed, inspection, decision, states_)
        result = ", ".join(sorted({state.value for state in states_}))
        event = self._claimed_event("decided", claimed, details, result=result, reason=_because(decision))
        item = Redecision(claimed, inspection, decision, states_, event, now_us, next_us)
        await self._journal.submit(partial(redecide, item=item))

    async def outcomes(self, signed: Signed, outcomes: Sequence[Outcome], next_us: Mapping[int, int]) -> None:
        """What became of an attempt, for each recipient: done, or due again at `next_us`. Raises LeaseLost."""
        claimed = signed.claimed
        now_us = self._clock.now_us()
        result = ", ".join(sorted({outcome.state.value for outcome in outcomes}))
        reason = outcomes[0].reply if outcomes else ""
        event = self._claimed_event("outcome", claimed, outcome_details(signed, outcomes), result=result, reason=reason)
        tried = not all(outcome.rest for outcome in outcomes)  # a long queue rests often, and nothing was tried then
        item = Conclusion(claimed, ends_of(claimed, outcomes, next_us, now_us), event if tried else None, now_us)
        await self._journal.submit_to(conclude, item)

    async def delay_notified(self, claimed: Claimed, ordinals: Sequence[int]) -> None:
        """The sender was told of the delay: once is enough."""

        def work(connection: Connection) -> None:
            connection.execute(
                update(QUEUE)
                .where(QUEUE.c.message_id == claimed.message.id, QUEUE.c.ordinal.in_(list(ordinals)))
                .values(delay_notified=True)
            )

        await self._journal.submit(work)

    async def check_lease(self, claimed: Claimed) -> None:
        """Raises LeaseLost where another process has taken the claim over."""
        await self._journal.submit(lambda connection: queue.check_lease(connection, claimed))

    async def withdraw(self, claimed: Claimed, next_us: int) -> None:
        """Ends a claim without an attempt."""
        await self._journal.submit(lambda connection: queue.give_back(connection, claimed, next_us))

    async def operation(self, kind: str, *, object_: str, result: str, origin: str, actor: str, reason: str) -> None:
        """An event that is not about one message: start, stop, a new policy."""
        event = make_event(
            kind, object_=object_, result=result, origin=origin, actor=actor, time_us=self._clock.now_us(), reason=printable(reason)
        )
        await self._journal.submit(lambda connection: write(connection, [event]))

    def _event(self, kind: str, received: Received, details: dict[str, Any], result: str, reason: str) -> NewEvent:
        return make_event(
            kind,
            object_=f"message {received.id.hex}",
            result=result,
            origin=f"{received.peer.listener} [{received.peer.address}]",
            actor=self._actor,
            time_us=received.received_us,
            reason=printable(reason),
            message_id=received.id,
            details=details,
        )

    def _claimed_event(self, kind: str, claimed: Claimed, details: dict[str, Any], result: str, reason: str) -> NewEvent:
        return make_event(
            kind,
            object_=f"message {claimed.message.id.hex}",
            result=result,
            origin="queue",
            actor=self._actor,
            time_us=self._clock.now_us(),
            reason=printable(reason),
            message_id=claimed.message.id,
            details=details,
        )


def _because(decision: Decision) -> str:
    return "; ".join(sorted({verdict.because for verdict in decision.verdicts if verdict.because}))
