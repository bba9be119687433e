"""The road as a session sees it: admission while the client talks, then the spool, then the road. Mail of our own enters here too."""

import uuid
from collections.abc import Iterable

from relay.admission import Admission
from relay.app.overload import Overload
from relay.model.address import Mailbox
from relay.model.client import Peer, Side
from relay.model.decision import Epoch
from relay.model.envelope import Body as BodyKind
from relay.model.envelope import Recipient, Sender
from relay.model.message import Body
from relay.model.ports import BodyWriter
from relay.model.reply import Reply
from relay.policy.models import Policy
from relay.receive.transaction import Transaction
from relay.record.adoption import Adoption, receipt_key
from relay.road import OWN_CLIENT, Road
from relay.store.spool.ports import Spool


class RoadIntake:
    """An Intake."""

    def __init__(self, admission: Admission, road: Road, spool: Spool, adoption: Adoption, overload: Overload, hostname: str) -> None:
        self._admission = admission
        self._road = road
        self._spool = spool
        self._adoption = adoption
        self._overload = overload
        self._hostname = hostname

    async def authenticate(self, peer: Peer, login: str, password: str) -> bool:
        return await self._admission.authenticate(peer, login, password)

    async def mail(self, peer: Peer, sender: Sender) -> Transaction:
        self._overload.check()
        return await self._admission.mail(peer, sender)

    async def rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
        await self._admission.rcpt(transaction, recipient)

    def open_body(self, transaction: Transaction) -> BodyWriter:
        return self._spool.create(transaction.id)

    async def accept(self, transaction: Transaction, body: Body) -> tuple[Reply, ...]:
        transaction.receipt = receipt_key(transaction.client.name, transaction.peer, transaction.envelope, body.digest)
        async with self._adoption.turn(transaction.receipt):
            return await self._accept(transaction, body)

    async def _accept(self, transaction: Transaction, body: Body) -> tuple[Reply, ...]:
        # A body whose commit failed stays for the sweep: a lost connection may hide a commit that was made.
        return await self._road.accept(transaction, body)

    async def refuse_body(self, transaction: Transaction, body: Body, reply: Reply, reason: str) -> tuple[Reply, ...]:
        if transaction.client.already_accepted:  # its message is kept, so that it hears a receipt
            transaction.receipt = receipt_key(transaction.client.name, transaction.peer, transaction.envelope, body.digest)
        return await self._road.refuse_body(transaction, body, reply, reason)

    def heard(self, receipts: Iterable[bytes]) -> None:
        for receipt in receipts:
            self._adoption.heard(receipt)

    async def take_in(self, identity: uuid.UUID, raw: bytes, recipient: Mailbox, in_force: tuple[Policy, Epoch]) -> tuple[Reply, ...]:
        """A message that Sluis wrote itself: it enters as client `sluis`, from the null reverse-path (RFC 3464 §2)."""
        policy, epoch = in_force
        peer = Peer("sluis", Side.INSIDE, "127.0.0.1", 0, "127.0.0.1", 0, helo=self._hostname, esmtp=True)
        eight_bit = not raw.isascii()
        sender = Sender(None, len(raw), BodyKind.EIGHT_BIT if eight_bit else BodyKind.SEVEN_BIT, smtputf8=not recipient.ascii or eight_bit)
        transaction = Transaction(identity, peer, OWN_CLIENT, policy, epoch, sender, authorised=True, vouched=False)
        transaction.recipients.append(Recipient(recipient, frozenset({"NEVER"})))
        writer = self._spool.create(identity)
        writer.write(raw)
        return await self._accept(transaction, writer.finish(normalised=False))
