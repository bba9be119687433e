"""What a session asks of the road, as a Protocol: the session knows the dialogue, the road knows policy."""

from collections.abc import Iterable
from typing import Protocol

from relay.model.client import Peer
from relay.model.envelope import Recipient, Sender
from relay.model.message import Body
from relay.model.ports import BodyWriter
from relay.model.reply import Reply
from relay.receive.transaction import Transaction


class Intake(Protocol):
    """The road as seen by a session. Every method may raise Refusal, whose reply the client hears. Anything else that it raises is a bug:
    the session logs it and answers 451 4.3.0.
    """

    async def authenticate(self, peer: Peer, login: str, password: str) -> bool:
        """Whether the password is right. An unknown login costs as much as a wrong password."""
        ...

    async def mail(self, peer: Peer, sender: Sender) -> Transaction:
        """MAIL FROM: identifies the client and checks that it may send as this sender."""
        ...

    async def rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
        """RCPT TO: checks and appends the recipient to the transaction."""
        ...

    def open_body(self, transaction: Transaction) -> BodyWriter:
        """DATA: a place in the spool. OSError: the disk refused (452)."""
        ...

    async def accept(self, transaction: Transaction, body: Body) -> tuple[Reply, ...]:
        """After the last byte: inspected, decided and durable when it returns. One reply for SMTP; for LMTP one for each recipient, in
        order. The session shields this from a client that goes away. Sets `transaction.receipt`: the session gives it to `heard` when the
        client has shown that it heard a positive reply.
        """
        ...

    def heard(self, receipts: Iterable[bytes]) -> None:
        """What was accepted under these was heard: the same once more is a new message."""
        ...

    async def refuse_body(self, transaction: Transaction, body: Body, reply: Reply, reason: str) -> tuple[Reply, ...]:
        """The session refuses the bytes (line discipline, size): writes the message row, and removes the body. Replies as in `accept`:
        a client that has said 250 already hears no 5xx, its message goes to a person.
        """
        ...
