"""The first stretch of the road, while the client is still talking: identify at MAIL FROM, receive at MAIL FROM and RCPT TO."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from relay.decide import decide_at_rcpt
from relay.identify import identify
from relay.model.address import Mailbox
from relay.model.case import Case
from relay.model.client import Peer, Side
from relay.model.decision import Epoch
from relay.model.envelope import Recipient, Sender
from relay.model.errors import Refusal
from relay.model.ids import new_id
from relay.model.ports import Clock
from relay.model.reply import Reply
from relay.policy.match import pattern_matches
from relay.policy.models import Policy
from relay.receive import replies
from relay.receive.rates import Rates
from relay.receive.senders import authorised, is_ours
from relay.receive.transaction import Transaction
from relay.receive.verification import Found, RecipientVerifier

log = logging.getLogger("sluis.receive")


class PolicyInForce(Protocol):
    """The policy and epoch of this moment."""

    def current(self) -> tuple[Policy, Epoch]: ...


class Refusals(Protocol):
    """Where a refusal before DATA is recorded as an event."""

    async def refusal(self, peer: Peer, sender: Sender | None, recipient: Recipient | None, reply: Reply, reason: str) -> None: ...


class Admission:
    """Decides at MAIL FROM and RCPT TO who comes in; every refusal is an event."""

    def __init__(
        self,
        policies: PolicyInForce,
        rates: Rates,
        verifier: RecipientVerifier,
        refusals: Refusals,
        verify_login: Callable[[str, str], Awaitable[bool]],
        spool_full: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._policies = policies
        self._rates = rates
        self._verifier = verifier
        self._refusals = refusals
        self._verify_login = verify_login
        self._spool_full = spool_full
        self._clock = clock

    async def authenticate(self, peer: Peer, login: str, password: str) -> bool:
        """Checks a password; a failure is an event."""
        if await self._verify_login(login, password):
            return True
        await self._refusals.refusal(peer, None, None, replies.AUTH_FAILED, self._why_no_login(login))
        return False

    def _why_no_login(self, login: str) -> str:
        """People type passwords where the name belongs: a name that policy does not know is not written down."""
        policy, _ = self._policies.current()
        known = any(login in client.logins for client in policy.clients)
        return f"wrong password for login {login}" if known else "a login that policy does not know"

    async def mail(self, peer: Peer, sender: Sender) -> Transaction:
        """MAIL FROM: which client, and may it send as this."""
        try:
            return await self._mail(peer, sender)
        except Refusal as refusal:
            await self._refused(peer, sender, None, refusal)
            raise

    async def rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
        """RCPT TO: appends the recipient, or refuses."""
        try:
            await self._rcpt(transaction, recipient)
        except Refusal as refusal:
            await self._refused(transaction.peer, transaction.sender, recipient, refusal)
            raise

    async def _refused(self, peer: Peer, sender: Sender, recipient: Recipient | None, refusal: Refusal) -> None:
        fields = {"address": peer.address, "from": str(sender), "to": str(recipient or ""), "reply": str(refusal.reply)}
        log.info("refused", extra={"fields": fields | {"because": refusal.reason}})
        await self._refusals.refusal(peer, sender, recipient, refusal.reply, refusal.reason)

    async def _mail(self, peer: Peer, sender: Sender) -> Transaction:
        policy, epoch = self._policies.current()
        client = identify(peer, policy)
        if client is None:
            raise Refusal(replies.CLIENT_UNKNOWN, "no client of the policy has this address, certificate or login")
        if client.require_tls and peer.tls is None:
            raise Refusal(replies.TLS_REQUIRED, f"client {client.name} must use TLS")
        if self._spool_full():
            raise Refusal(replies.SPOOL_FULL, "the spool is above its watermark")
        allowed = authorised(client, peer.login, sender.path, policy)
        if sender.path is None and not allowed:
            raise Refusal(replies.NULL_SENDER_NOT_ALLOWED, f"client {client.name} may not send with an empty reverse-path")
        if not allowed and not client.forwards:
            raise Refusal(replies.SENDER_NOT_ALLOWED, f"client {client.name} may not send as {sender}")
        if not await self._rates.message(client, _sender_key(sender)):
            raise Refusal(replies.RATE_EXCEEDED, f"message rate of client {client.name} or sender {sender}")
        own = client.side is Side.INSIDE and allowed and not client.forwards
        return Transaction(new_id(), peer, client, policy, epoch, sender, authorised=own, vouched=own and sender.path is not None)

    async def _rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
        policy, client = transaction.policy, transaction.client
        recipient, is_postmaster = _postmaster(recipient, policy)
        if self._spool_full():
            raise Refusal(replies.SPOOL_FULL, "the spool is above its watermark")
        if not is_postmaster:  # RFC 5321 §4.5.1: postmaster is always accepted
            _check_allowed(transaction, recipient)
            # Counted before it is looked up, so that addresses can't be harvested without end.
            if not await self._rates.recipient(client, _sender_key(transaction.sender)):
                raise Refusal(replies.RATE_EXCEEDED, f"recipient rate of client {client.name} or sender {transaction.sender}")
            await self._check_exists(transaction, recipient)
            self._early_verdict(transaction, recipient)
        transaction.recipients.append(recipient)

    async def _check_exists(self, transaction: Transaction, recipient: Recipient) -> None:
        if transaction.client.side is not Side.OUTSIDE:
            return
        found = await self._verifier.verify(recipient, transaction.policy)
        if found is Found.NOT_FOUND:
            raise Refusal(replies.RECIPIENT_UNKNOWN, f"{recipient} does not exist")
        if found is Found.UNKNOWN:
            raise Refusal(replies.RECIPIENT_UNVERIFIED, f"{recipient} could not be verified")

    def _early_verdict(self, transaction: Transaction, recipient: Recipient) -> None:
        """decide speaks for the first time: it refuses only where no content could make it milder."""
        case = Case(
            client=transaction.client.name,
            side=transaction.client.side,
            sender=_sender_key(transaction.sender),
            recipients=(recipient,),
            size=transaction.sender.size,
            tls=transaction.peer.tls is not None,
            authorised=transaction.authorised,
            received_us=self._clock.now_us(),
        )
        today = datetime.fromtimestamp(case.received_us / 1e6, UTC).date()
        verdict = decide_at_rcpt(case, transaction.policy, transaction.epoch, today)
        if verdict is not None and not transaction.client.already_accepted:
            raise Refusal(replies.RECIPIENT_REFUSED, f"rules {', '.join(verdict.rules)}")


def _check_allowed(transaction: Transaction, recipient: Recipient) -> None:
    """Never an open relay, and only where policy lets this client send."""
    policy, client = transaction.policy, transaction.client
    if client.side is Side.OUTSIDE and not is_ours(recipient.mailbox.domain, policy):
        raise Refusal(replies.RELAYING_DENIED, f"{recipient} is not of a domain of ours")
    if not any(pattern_matches(pattern, recipient.mailbox.key) for pattern in client.may_send_to):
        raise Refusal(replies.RECIPIENT_NOT_ALLOWED, f"client {client.name} may not send to {recipient}")


def _sender_key(sender: Sender) -> str:
    return sender.path.key if sender.path else ""


def _postmaster(recipient: Recipient, policy: Policy) -> tuple[Recipient, bool]:
    """`<postmaster>` and postmaster at a domain of ours go to the address that the policy names."""
    mailbox = recipient.mailbox
    if mailbox.local.lower() != "postmaster" or (mailbox.domain and not is_ours(mailbox.domain, policy)):
        return recipient, False
    if mailbox.domain:
        return recipient, True
    local, _, domain = policy.organisation.postmaster.rpartition("@")
    return replace(recipient, mailbox=Mailbox(local, domain)), True
