"""The road as a session sees it, without policy, spool or store: it keeps what it takes, and answers what a test wants."""

import asyncio
import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from relay.model.client import Peer, Side
from relay.model.decision import Epoch
from relay.model.envelope import Recipient, Sender
from relay.model.errors import Refusal
from relay.model.message import Body
from relay.model.reply import Reply
from relay.policy.models import Client, Organisation, Policy
from relay.receive import replies
from relay.receive.transaction import Transaction

POLICY = Policy(
    digest="0" * 64,
    organisation=Organisation(name="Example", domains=("example.nl",), authserv_id="relay.example.nl", postmaster="postmaster@example.nl"),
)
CLIENT = Client(name="everybody", side=Side.INSIDE, require_tls=False)
COMMITMENT = "c0" * 32
QUEUED = Reply(250, 0, 0, f"Ok: queued as {'0' * 32} {COMMITMENT}")


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that came in whole: taken (`refused` is None), or its bytes refused by the session."""

    peer: Peer
    sender: Sender
    recipients: tuple[Recipient, ...]
    raw: bytes
    normalised: bool
    refused: Reply | None = None


class MemoryWriter:
    """A BodyWriter in memory. `writes` OSErrors where the disk is full."""

    def __init__(self, full: bool = False) -> None:
        self.data = bytearray()
        self.discarded = False
        self._full = full

    def write(self, chunk: bytes) -> None:
        if self._full:
            raise OSError(28, "No space left on device")
        self.data += chunk

    def finish(self, normalised: bool) -> Body:
        raw = bytes(self.data)
        return Body("memory", len(raw), hashlib.sha256(raw).hexdigest(), "", b"", raw, normalised)

    def discard(self) -> None:
        self.discarded = True
        self.data.clear()


@dataclass
class FakeIntake:
    """Answers of the road. `unknown` recipients hear 550 at RCPT TO; `answers` are replies after DATA by recipient, else QUEUED;
    `disk` is `full` at the first write or `gone` at DATA. Where `gate` is set, nothing is taken before it opens; `waiting` says that a
    message stands before it. `told` are the receipts that were heard: digests of their messages."""

    client: Client = CLIENT
    logins: Mapping[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    answers: Mapping[str, Reply] = field(default_factory=dict)
    disk: str = ""
    gate: asyncio.Event | None = None
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    messages: list[Taken] = field(default_factory=list)
    writers: list[MemoryWriter] = field(default_factory=list)
    bug_at: str = ""
    told: list[bytes] = field(default_factory=list)

    async def authenticate(self, peer: Peer, login: str, password: str) -> bool:
        assert peer.tls is not None
        return self.logins.get(login) == password

    async def mail(self, peer: Peer, sender: Sender) -> Transaction:
        if self.bug_at and str(sender) == self.bug_at:
            raise RuntimeError("a bug at MAIL FROM")
        return Transaction(uuid.UUID(int=0), peer, self.client, POLICY, Epoch("0" * 64, "open"), sender, authorised=True, vouched=True)

    async def rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
        if str(recipient) in self.unknown:
            raise Refusal(replies.RECIPIENT_UNKNOWN)
        transaction.recipients.append(recipient)

    def open_body(self, transaction: Transaction) -> MemoryWriter:
        if self.disk == "gone":
            raise OSError(5, "Input/output error")
        self.writers.append(MemoryWriter(full=self.disk == "full"))
        return self.writers[-1]

    async def accept(self, transaction: Transaction, body: Body) -> tuple[Reply, ...]:
        self.waiting.set()
        if self.gate is not None:
            await self.gate.wait()
        if any(str(recipient) == self.bug_at for recipient in transaction.recipients):
            raise RuntimeError("a bug on the road")
        self._keep(transaction, body, None)
        transaction.receipt = body.digest.encode()
        every = tuple(self.answers.get(str(recipient), QUEUED) for recipient in transaction.recipients)
        return every if transaction.peer.lmtp else every[:1]

    def heard(self, receipts: Iterable[bytes]) -> None:
        self.told += receipts

    async def refuse_body(self, transaction: Transaction, body: Body, reply: Reply, reason: str) -> tuple[Reply, ...]:
        self._keep(transaction, body, reply)
        answer = QUEUED if transaction.client.already_accepted else reply
        return (answer,) * (len(transaction.recipients) if transaction.peer.lmtp else 1)

    def _keep(self, transaction: Transaction, body: Body, refused: Reply | None) -> None:
        assert body.bytes is not None
        envelope = transaction.envelope
        self.messages.append(Taken(transaction.peer, envelope.sender, envelope.recipients, body.bytes, body.normalised, refused))
