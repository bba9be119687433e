"""Inspect and decide: what both halves of the road do with a message, and what a rehearsal does too."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Protocol

from relay.decide import asks_for_authentication, decide
from relay.model.case import Case
from relay.model.decision import Decision, Epoch, Release, Verdict
from relay.model.features import Inspection
from relay.model.finding import Finding
from relay.model.message import Body, Inspected, Received
from relay.model.ports import Clock
from relay.policy.models import Client, Policy
from relay.receive.senders import header_findings, loop_findings
from relay.receive.transaction import Transaction


class InspectBody(Protocol):
    """read and inspect, in a worker process; its DKIM signatures too where it is to be authenticated."""

    async def __call__(self, body: Body, policy: Policy, authenticate: bool) -> Inspection: ...


class Alert(Protocol):
    """Where what a person must know of is told."""

    def __call__(self, name: str, **fields: Any) -> None: ...


class Judge:
    """`max_received`: more Received fields than that are a loop. `observed` hears each verdict on which a rule that is only observed would
    have spoken."""

    def __init__(
        self,
        inspect_body: InspectBody,
        alert: Alert,
        clock: Clock,
        max_received: int,
        observed: Callable[[Verdict], None] = lambda verdict: None,
    ) -> None:
        self._inspect = inspect_body
        self._alert = alert
        self._clock = clock
        self._max_received = max_received
        self._observed = observed

    async def inspected(self, received: Received, client: Client, policy: Policy) -> Inspected:
        """read and inspect in a worker, then what receive says of the header."""
        inspection = await self._inspect(received.body, policy, asks_for_authentication(policy, received.peer.side))
        findings: tuple[Finding, ...] = loop_findings(inspection.header, self._max_received)
        # A worker that died on the message has read no header, and says so in a finding of its own; an empty message has none.
        if inspection.header.size or not received.body.size:
            findings += header_findings(inspection.header, client, received.peer.login, policy)
        return Inspected(received, replace(inspection, findings=inspection.findings + findings))

    def decide(
        self, inspected: Inspected, policy: Policy, epoch: Epoch, total: int | None = None, releases: Mapping[int, Release] | None = None
    ) -> Decision:
        """decide, on everything. `total` is how many recipients the transaction had; what needs a person's eye is told at once."""
        now_us = self._clock.now_us()
        decision = replace(decide(case_of(inspected, total), policy, epoch, day_of(now_us), releases or {}), decided_us=now_us)
        for verdict in decision.verdicts:
            if verdict.observed:
                self._observed(verdict)
        for name in sorted({verdict.alert for verdict in decision.verdicts if verdict.alert}):
            self._alert(name, message=inspected.received.id.hex, because=because_of(decision))
        return decision


def case_of(inspected: Inspected, total: int | None = None) -> Case:
    """What decide looks at."""
    received = inspected.received
    return Case(
        client=received.client,
        side=received.peer.side,
        sender=received.envelope.sender.path.key if received.envelope.sender.path else "",
        recipients=received.envelope.recipients,
        size=received.body.size,
        tls=received.peer.tls is not None,
        authorised=received.authorised,
        inspection=inspected.inspection,
        recipients_total=total or len(received.envelope.recipients),
        received_us=received.received_us,
    )


def day_of(time_us: int) -> date:
    """The day (UTC) of a moment in microseconds since 1970."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).date()


def received_from(transaction: Transaction, body: Body, now_us: int) -> Received:
    """The milestone after the last byte."""
    return Received(
        id=transaction.id,
        peer=transaction.peer,
        client=transaction.client.name,
        envelope=transaction.envelope,
        body=body,
        received_us=now_us,
        vouched=transaction.vouched,
        authorised=transaction.authorised,
        already_accepted=transaction.client.already_accepted,
        receipt=transaction.receipt,
        hearing=transaction.hearing,
    )


def because_of(decision: Decision) -> str:
    """Rules and reasons, for people."""
    rules = sorted({rule for verdict in decision.verdicts for rule in verdict.rules})
    reasons = sorted({verdict.because for verdict in decision.verdicts if verdict.because})
    return "; ".join([*rules, *reasons])
