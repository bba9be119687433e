"""One message through admission, reading, inspection and decision under a policy. Nothing is sent, recorded or looked up."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relay.admission import Admission
from relay.decide.answer import answer
from relay.judge import Judge, received_from
from relay.model.address import Mailbox
from relay.model.authentication import Authentication
from relay.model.client import Peer, Side, Tls
from relay.model.decision import Epoch, Verdict
from relay.model.delivery import State
from relay.model.envelope import Recipient, Sender
from relay.model.errors import ConfigurationError, Refusal
from relay.model.features import Inspection
from relay.model.finding import Finding
from relay.model.message import Body, Decided
from relay.model.reply import Reply
from relay.policy.models import Client, Policy
from relay.receive.transaction import Transaction
from relay.receive.verification import Found
from relay.sign.body_hash import RelaxedBodyHash

Inspect = Callable[[bytes, Policy], Awaitable[Inspection]]
MAX_RECEIVED = 50  # the default of `delivery.max_received`
TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", None, ())


@dataclass(frozen=True, slots=True)
class Given:
    """A message and how it comes. `sender` is empty for the null reverse-path. `findings` are added to those of inspection; `unavailable`
    inspectors do not answer, and all others do. `at_us` is the moment (microseconds since 1970 UTC). `first_times` are the recipients to
    whom the sender never wrote before, `first_times_today` how many such ones it has today, `authentication` what is known of mail from
    outside (without it, that nobody signed and no domain asks anything): a rehearsal looks nothing up."""

    octets: bytes
    client: str
    sender: str
    recipients: tuple[str, ...]
    phase: str
    at_us: int
    tls: bool = True
    brake: bool = False
    login: str | None = None
    findings: tuple[Finding, ...] = ()
    unavailable: tuple[str, ...] = ()
    only_answered: bool = False
    first_times: tuple[str, ...] = ()
    first_times_today: int = 0
    authentication: Authentication | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one recipient: refused before DATA with `reply` and `reason`, or decided with `verdict`; `state` is where it would be then."""

    recipient: str
    reply: Reply | None = None
    reason: str = ""
    verdict: Verdict | None = None
    state: State | None = None

    @property
    def word(self) -> str:
        """`refuse` (before DATA), `defer`, or the disposition."""
        if self.verdict is None:
            return "refuse"
        return "defer" if self.verdict.deferred else str(self.verdict.disposition)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """`decided` is None where no recipient came as far; `code` is what the client hears after DATA."""

    outcomes: tuple[Outcome, ...]
    decided: Decided | None = None
    code: int | None = None


async def rehearse(given: Given, policy: Policy, inspect: Inspect) -> Rehearsed:
    """Raises ConfigurationError where the client or phase is not one of the policy."""
    client = _client(given.client, policy)
    if given.phase not in policy.organisation.phases:
        raise ConfigurationError([f"no phase is named '{given.phase}'; there are {', '.join(policy.organisation.phases)}"])
    if given.authentication is not None and client.side is Side.INSIDE:
        raise ConfigurationError([f"the client '{client.name}' is inside: only mail from outside is authenticated"])
    clock = _Moment(given.at_us)
    in_force = _InForce(policy, Epoch(policy.digest, given.phase, given.brake))
    admission = Admission(in_force, _NoLimits(), _Known(), _Unheard(), _no_login, lambda: False, clock)  # type: ignore[arg-type]
    sender = Sender(_mailbox(given.sender) if given.sender else None, size=len(given.octets))
    try:
        transaction = await admission.mail(_peer(client, given), sender)
    except Refusal as refused:
        return Rehearsed(tuple(Outcome(address, refused.reply, refused.reason) for address in given.recipients))
    refusals = await _recipients(admission, transaction, given.recipients)
    if not transaction.recipients:
        return Rehearsed(tuple(refusals.values()))

    async def inspected(body: Body, policy: Policy, authenticate: bool) -> Inspection:
        assert body.bytes is not None
        found = _with_given(await inspect(body.bytes, policy), given, policy)
        return replace(found, authentication=(given.authentication or Authentication()) if client.side is Side.OUTSIDE else None)

    judge = Judge(inspected, _ignore, clock, MAX_RECEIVED)
    inspection = await judge.inspected(received_from(transaction, _body(given.octets), given.at_us), client, policy)
    decided = Decided(inspection, judge.decide(inspection, policy, in_force.epoch))
    said = answer(decided.decision, lmtp=False, already_accepted=client.already_accepted, vouched=transaction.vouched)
    passed = iter(zip(decided.decision.verdicts, said.states, strict=True))
    outcomes = []
    for address in given.recipients:
        if address in refusals:
            outcomes.append(refusals[address])
        else:
            verdict, state = next(passed)
            outcomes.append(Outcome(address, verdict=verdict, state=state))
    return Rehearsed(tuple(outcomes), decided, said.codes[0])


async def _recipients(admission: Admission, transaction: Transaction, addresses: Sequence[str]) -> dict[str, Outcome]:
    """Those that are refused at RCPT."""
    refused: dict[str, Outcome] = {}
    for address in addresses:
        try:
            await admission.rcpt(transaction, Recipient(_mailbox(address)))
        except Refusal as refusal:
            refused[address] = Outcome(address, refusal.reply, refusal.reason)
    return refused


def _with_given(inspection: Inspection, given: Given, policy: Policy) -> Inspection:
    """Scanners that are not there answer that they found nothing, but for those that are said to be away."""
    required = set(policy.inspection.outbound + policy.inspection.inbound + policy.inspection.internal)
    answered = set(inspection.answered) if given.only_answered else set(inspection.answered) | required
    unavailable = set(inspection.unavailable) if given.only_answered else set()
    away = set(given.unavailable)
    return replace(
        inspection,
        findings=inspection.findings + given.findings,
        first_times=tuple(_mailbox(address).key for address in given.first_times),
        first_times_today=given.first_times_today,
        answered=tuple(sorted(answered - away)),
        unavailable=tuple(sorted(unavailable | away)),
    )


def _client(name: str, policy: Policy) -> Client:
    client = next((client for client in policy.clients if client.name == name), None)
    if client is None:
        raise ConfigurationError([f"no client is named '{name}'; there are {', '.join(client.name for client in policy.clients)}"])
    return client


def _peer(client: Client, given: Given) -> Peer:
    """Somebody who is this client: by a login of it, a certificate, or an address."""
    address = str(client.addresses[0].network_address) if client.addresses else "192.0.2.1"
    login = given.login or (client.logins[0] if client.logins and not client.addresses and not client.certificates else None)
    tls = TLS if given.tls else None
    if client.certificates and login is None and tls is not None:
        first = client.certificates[0]
        print_of, names = (first.removeprefix("sha256:"), ()) if first.startswith("sha256:") else (None, (first,))
        tls = replace(tls, certificate_sha256=print_of, certificate_names=names)
    return Peer("rehearsal", client.side, address, 25, "127.0.0.1", 25, helo="rehearsal.invalid", esmtp=True, tls=tls, login=login)


def _mailbox(text: str) -> Mailbox:
    local, _, domain = text.rpartition("@")
    return Mailbox(local, domain) if local else Mailbox(domain, "")


def _body(octets: bytes) -> Body:
    body_hash = RelaxedBodyHash()
    body_hash.update(octets)
    return Body("", len(octets), hashlib.sha256(octets).hexdigest(), body_hash.base64(), bytes=octets)


@dataclass(frozen=True, slots=True)
class _InForce:
    policy: Policy
    epoch: Epoch

    def current(self) -> tuple[Policy, Epoch]:
        return self.policy, self.epoch


@dataclass(frozen=True, slots=True)
class _Moment:
    us: int

    def now_us(self) -> int:
        return self.us


class _NoLimits:
    """Rates count what is sent; a rehearsal sends nothing."""

    async def message(self, client: Client, sender: str) -> bool:
        return True

    async def recipient(self, client: Client, sender: str) -> bool:
        return True


class _Known:
    """Whether a mailbox exists is the next hop's to say, and no matter of policy."""

    async def verify(self, recipient: Recipient, policy: Policy) -> Found:
        return Found.FOUND


class _Unheard:
    async def refusal(self, *_: Any) -> None:
        """Nobody is told."""


async def _no_login(login: str, password: str) -> bool:
    return False


def _ignore(name: str, **fields: Any) -> None:
    pass
