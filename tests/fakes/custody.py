"""Messages in custody as the record would give them, and a spool object in memory, for the stages that come after record."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from relay.model.address import Mailbox
from relay.model.client import Peer, Side, Tls
from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.model.envelope import Recipient, Sender
from relay.model.features import Header, Inspection
from relay.model.message import Claimed, StoredMessage, Ticket
from relay.sign.body_hash import RelaxedBodyHash

PEER = Peer(
    listener="inside",
    side=Side.INSIDE,
    address="192.0.2.10",
    port=40_000,
    local_address="192.0.2.1",
    local_port=25,
    helo="mail.example.nl",
    esmtp=True,
    tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
)
NOW_US = 1_795_460_000_000_000


class MemoryBody:
    """A BodyReader over bytes, in pieces of `piece` octets; `opened` counts how often it was read from the start."""

    def __init__(self, data: bytes, piece: int = 65_536) -> None:
        self.size = len(data)
        self._data = data
        self._piece = piece
        self.opened = 0
        self.closed = False
        self.octets_read = 0

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        self.opened += 1
        for position in range(start, self.size, self._piece):
            self.octets_read += min(self._piece, self.size - position)
            yield self._data[position : position + self._piece]

    def close(self) -> None:
        self.closed = True


def body_hash(message: bytes) -> str:
    """The relaxed body hash of a whole message."""
    hasher = RelaxedBodyHash()
    hasher.update(message)
    return hasher.base64()


def mailbox(text: str) -> Mailbox:
    """An address given as text."""
    local, _, domain = text.rpartition("@")
    return Mailbox(local, domain)


def stored(message: bytes, sender: str | Sender | None = "jan@example.nl", **changes: Any) -> StoredMessage:
    """A message in the record. The header From is taken from the bytes if it is a bare address."""
    senders = [line[5:].strip().decode() for line in message.split(b"\r\n\r\n")[0].split(b"\r\n") if line.lower().startswith(b"from:")]
    header = Header(
        from_addresses=tuple(text.rpartition("<")[2].rstrip(">") for text in senders),
        from_fields=len(senders),
        eight_bit=not message.split(b"\r\n\r\n")[0].isascii(),
    )
    values: dict[str, Any] = {
        "id": uuid.UUID("0199f000-0000-7000-8000-000000000001"),
        "received_us": NOW_US,
        "peer": PEER,
        "client": "exchange",
        "sender": sender if isinstance(sender, Sender) else Sender(mailbox(sender) if sender else None),
        "spool_object": "0199f000000070008000000000000001",
        "size": len(message),
        "digest": hashlib.sha256(message).hexdigest(),
        "body_hash": body_hash(message),
        "vouched": True,
        "authorised": True,
        "inspection": Inspection(header=header, eight_bit=not message.isascii()),
        "commitment": "ab" * 32,
        "recipients_total": 1,
    }
    return StoredMessage(**{**values, **changes})


def claimed(message: StoredMessage, recipients: Sequence[str | Recipient] = ("piet@partner.example",), route: str = "out") -> Claimed:
    """A lease on the deliveries to `recipients`; the message then has that many in all, unless it says more."""
    tickets = tuple(
        Ticket(ordinal, recipient if isinstance(recipient, Recipient) else Recipient(mailbox(recipient)), State.READY, attempts=0)
        for ordinal, recipient in enumerate(recipients)
    )
    return Claimed(
        message=replace(message, recipients_total=max(message.recipients_total, len(tickets))),
        route=route,
        tickets=tickets,
        epoch=Epoch("0" * 64, "open"),
        owner="relay-1",
        fence=1,
        lease_until_us=NOW_US + 600_000_000,
        expires_us=NOW_US + 432_000_000_000,
    )
