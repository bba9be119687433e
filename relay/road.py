"""The order of the stages. `accept` is the road from the last byte of DATA to the reply, `dispatch` from the record to the next hop."""

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from relay.admission import PolicyInForce
from relay.decide import asks_for_authentication, asks_for_day_count, asks_for_first_times
from relay.decide.answer import answer
from relay.judge import Alert, InspectBody, Judge, because_of, received_from
from relay.model.authentication import Authentication
from relay.model.client import Side
from relay.model.decision import Decision, Epoch, Verdict
from relay.model.delivery import State
from relay.model.envelope import Envelope
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind
from relay.model.message import Adopted, Body, Claimed, Decided, Inspected, Received, Recorded
from relay.model.ports import Authenticator, Clock, Correspondence, FirstTimes
from relay.model.reply import Reply
from relay.policy.models import Client, Policy
from relay.receive.transaction import Transaction

log = logging.getLogger("sluis.road")


class Recorder(Protocol):
    """record: durable when it returns."""

    async def accept(self, decided: Decided, states_: Sequence[State], codes: tuple[int, ...]) -> Recorded | Adopted: ...

    async def refuse(self, decided: Decided, reply: Reply, reason: str) -> Adopted | None: ...


class Road:
    """Inspect, decide, record: every message, whoever wrote it."""

    def __init__(
        self,
        policies: PolicyInForce,
        inspect_body: InspectBody,
        recorder: Recorder,
        alert: Alert,
        clock: Clock,
        max_received: int,
        observed: Callable[[Verdict], None],
        correspondence: Correspondence,
        authenticator: Authenticator,
    ) -> None:
        self._policies = policies
        self._judge = Judge(inspect_body, alert, clock, max_received, observed)
        self._recorder = recorder
        self._clock = clock
        self._correspondence = correspondence
        self._authenticator = authenticator

    async def accept(self, transaction: Transaction, body: Body) -> tuple[Reply, ...]:
        """After the last byte of DATA. When it returns, what the replies promise is durable."""
        received = received_from(transaction, body, self._clock.now_us())
        policy, epoch = self._policies.current()
        if transaction.client is not OWN_CLIENT and transaction.policy.digest != policy.digest:
            return await self._admitted_before(received)
        inspected = await self._judge.inspected(received, transaction.client, policy)
        inspected = await self._authenticated(inspected, transaction.client, policy, None)
        inspected = await self._acquainted(inspected, policy, FirstTimes())
        decided = Decided(inspected, self._judge.decide(inspected, policy, epoch))
        reply = answer(decided.decision, lmtp=received.peer.lmtp, already_accepted=received.already_accepted, vouched=received.vouched)
        if not reply.custody:
            return await self._refused(decided, _refusal(reply.codes[0], received.id, decided), because_of(decided.decision))
        return await self._taken(decided, reply.states, reply.codes)

    async def _authenticated(self, inspected: Inspected, client: Client, policy: Policy, before: Authentication | None) -> Inspected:
        """With what SPF, DKIM and DMARC say, where policy asks: as it was when the message came in, but for what DNS did not answer then.
        A worker has no say in it beyond what it read; of a header that nobody could read nothing is known."""
        found = before
        asks = asks_for_authentication(policy, inspected.received.peer.side)
        if asks and inspected.inspection.header.size and (before is None or before.unfinished):
            found = await self._authenticator.authenticate(inspected, client.already_accepted)
        inspection = inspected.inspection
        if found is None and inspection.authentication is None and not inspection.signatures:
            return inspected
        return replace(inspected, inspection=replace(inspection, authentication=found, signatures=()))

    async def _acquainted(self, inspected: Inspected, policy: Policy, before: FirstTimes) -> Inspected:
        """With who wrote to whom before, where policy asks: as it was when the message came in, if that was looked up then. A worker has no
        say in it. Nobody is a first-time recipient of the null reverse-path, nor of Sluis itself."""
        received = inspected.received
        sender = received.envelope.sender.path
        found = before
        count = asks_for_day_count(policy)
        known = before.recipients is not None and (before.today is not None or not count)
        if not known and asks_for_first_times(policy, received.peer.side):
            if sender is None or received.client == OWN_CLIENT.name:
                found = FirstTimes((), 0)
            else:
                keys = [recipient.mailbox.key for recipient in received.envelope.recipients]
                zone, now_us = policy.organisation.zone, self._clock.now_us()
                found = await self._correspondence.first_times(sender.key, keys, zone, now_us, count)
        inspection = inspected.inspection
        if FirstTimes(inspection.first_times, inspection.first_times_today) == found:
            return inspected
        return replace(inspected, inspection=replace(inspection, first_times=found.recipients, first_times_today=found.today))

    async def _taken(self, decided: Decided, states: tuple[State, ...], codes: tuple[int, ...]) -> tuple[Reply, ...]:
        recorded = await self._recorder.accept(decided, states, codes)
        if isinstance(recorded, Adopted):
            return _repeated(recorded, decided)
        _log("accepted", decided, ", ".join(state.value for state in states))
        identity = decided.inspected.received.id
        return tuple(_receipt(identity, recorded.commitment) if code == 250 else _refusal(code, identity, decided) for code in codes)

    async def _refused(self, decided: Decided, spoken: Reply, because: str) -> tuple[Reply, ...]:
        first = await self._recorder.refuse(decided, spoken, because)
        if first is not None:
            return _repeated(first, decided)
        _log("refused", decided, str(spoken))
        return (spoken,) * _replies(decided.inspected.received)

    async def _admitted_before(self, received: Received) -> tuple[Reply, ...]:
        """Sender and recipients were let in by a policy that is in force no more: the client asks again, and hears today's answer."""
        policy, epoch = self._policies.current()
        inspected = Inspected(received, Inspection(Header()))
        decided = Decided(inspected, self._judge.decide(inspected, policy, epoch))
        spoken = Reply(451, 7, 1, f"Policy has changed meanwhile, try again; {received.id.hex}")
        return await self._refused(decided, spoken, "the policy changed during the transaction")

    async def refuse_body(self, transaction: Transaction, body: Body, reply: Reply, reason: str) -> tuple[Reply, ...]:
        """Bytes that the session refuses are not read; the row tells what was refused. A client that has said 250 already hears no 5xx: its
        message is kept, and a person looks at it."""
        received = received_from(transaction, body, self._clock.now_us())
        kind, name = (Kind.LIMIT, "too-large") if reply.code == 552 else (Kind.AMBIGUOUS, "bare-line-end")
        finding = Finding(kind, "listen", name)
        inspected = Inspected(received, Inspection(Header()))
        policy, epoch = self._policies.current()
        if received.already_accepted:  # whoever looks at it must see what is in it
            inspected = await self._judge.inspected(received, transaction.client, policy)
            inspected = await self._authenticated(inspected, transaction.client, policy, None)
        findings = (*inspected.inspection.findings, finding)
        inspected = replace(inspected, inspection=replace(inspected.inspection, findings=findings))
        decided = Decided(inspected, self._judge.decide(inspected, policy, epoch))
        if received.already_accepted:
            return await self._taken(decided, (State.QUARANTINED,) * len(received.envelope.recipients), (250,) * _replies(received))
        return await self._refused(decided, reply, reason)

    async def inspect_again(self, claimed: Claimed, body: Body, policy: Policy, epoch: Epoch) -> tuple[Inspection, Decision]:
        """What comes back from hold, quarantine or an older epoch: today's signatures, today's policy, and the releases that staff gave."""
        message = claimed.message
        received = Received(
            id=message.id,
            peer=message.peer,
            client=message.client,
            envelope=Envelope(message.sender, tuple(ticket.recipient for ticket in claimed.tickets)),
            body=body,
            received_us=message.received_us,
            vouched=message.vouched,
            authorised=message.authorised,
        )
        client = client_named(message.client, policy)
        inspected = await self._judge.inspected(received, client, policy)
        inspected = await self._authenticated(inspected, client, policy, message.inspection.authentication)
        before = FirstTimes(message.inspection.first_times, message.inspection.first_times_today)
        inspected = await self._acquainted(inspected, policy, before)
        releases = {index: ticket.release for index, ticket in enumerate(claimed.tickets) if ticket.release is not None}
        return inspected.inspection, self._judge.decide(inspected, policy, epoch, message.recipients_total, releases)


OWN_CLIENT = Client(name="sluis", side=Side.INSIDE, may_send_as=("*",), may_send_to=("*",), require_tls=False)
"""What Sluis writes itself enters the road as this client, and is inspected, decided and recorded like any other."""

GONE_CLIENT = Client(name="gone", side=Side.INSIDE, require_tls=False)
"""Stands for a client that has left the policy while its mail was in custody: it may send as nobody."""


def client_named(name: str, policy: Policy) -> Client:
    """The client that brought a message, as policy sees it today."""
    if name == OWN_CLIENT.name:
        return OWN_CLIENT
    return next((client for client in policy.clients if client.name == name), GONE_CLIENT)


def _replies(received: Received) -> int:
    """How many the client hears (RFC 2033 §4.2)."""
    return len(received.envelope.recipients) if received.peer.lmtp else 1


def _receipt(identity: uuid.UUID, commitment: str) -> Reply:
    """The commitment is one that the audit must be able to show."""
    return Reply(250, 0, 0, f"Ok: queued as {identity.hex} {commitment}")


def _refusal(code: int, identity: uuid.UUID, decided: Decided) -> Reply:
    """A constant text with the message id; the rule stays with us."""
    if code == 451:
        return Reply(451, 7, 1, f"Can't be decided now, try again later; {identity.hex}")
    if any(finding.name == "mail-loop" for finding in decided.inspected.inspection.findings):
        return Reply(554, 4, 6, f"Too many hops; {identity.hex}")  # RFC 3463 §3.5: X.4.6 routing loop
    return Reply(550, 7, 1, f"Refused by policy; {identity.hex}")


def _repeated(first: Adopted, decided: Decided) -> tuple[Reply, ...]:
    """What the client was told, or should have been told, the first time."""
    _log("adopted", decided, first.message_id.hex)
    identity = first.message_id
    return tuple(_receipt(identity, first.commitment) if code == 250 else _refusal(code, identity, decided) for code in first.codes)


def _log(event: str, decided: Decided, result: str) -> None:
    """One line a message, beside the record: people grep for the id."""
    received = decided.inspected.received
    fields = {
        "message": received.id.hex,
        "client": received.client,
        "address": received.peer.address,
        "from": str(received.envelope.sender),
        "recipients": len(received.envelope.recipients),
        "size": received.body.size,
        "message_id": decided.inspected.inspection.header.message_id,
        "result": result,
        "because": because_of(decided.decision),
    }
    log.info(event, extra={"fields": fields})
