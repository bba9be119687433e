"""The milestones of the road: each frozen type can only be made from the one before it, so that mypy refuses a skipped stage."""

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay.model.client import Peer
from relay.model.decision import Decision, Epoch, Release
from relay.model.delivery import State
from relay.model.effects import NO_EFFECTS, Effects
from relay.model.envelope import Envelope, Recipient, Sender
from relay.model.features import Inspection

if TYPE_CHECKING:
    from relay.model.ports import Hearing


@dataclass(frozen=True, slots=True)
class Body:
    """A message's bytes in the spool. `size` in octets and `digest` (SHA-256, hex) are of the bytes as they will be sent on:
    dot-unstuffed, CRLF only.
    `body_hash` is the DKIM body hash (SHA-256, base64) of the relaxed canonical body (RFC 6376 §3.4.4), computed while the bytes
    streamed by.
    `key` opens this one object, and is empty where whoever opens it has to unwrap it; `bytes` is set while a small body is still in
    memory, so that it is not read again. `normalised` says that bare CR, bare LF or NUL were put right before the digest. `arriving` is the
    business of the spool alone: where the octets are until they are sealed."""

    object: str
    size: int
    digest: str
    body_hash: str
    key: bytes = field(default=b"", repr=False)
    bytes: "bytes | None" = field(default=None, repr=False)
    normalised: bool = False
    arriving: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Received:
    """After the last byte of DATA. `client` is the policy name of the client. `vouched`: a bounce may go to the reverse-path (promise 13).
    `authorised`: the sender was checked against policy, so that we may sign as its domain. `already_accepted`: this client never hears 5xx
    after DATA. `received_us` is microseconds since 1970 UTC. `receipt` is the same when the same transaction is sent a
    second time; empty where no client waits for a reply, as `hearing` is None then."""

    id: uuid.UUID
    peer: Peer
    client: str
    envelope: Envelope
    body: Body
    received_us: int
    vouched: bool
    authorised: bool
    already_accepted: bool = False
    receipt: bytes = b""
    hearing: "Hearing | None" = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Inspected:
    """After the readers and inspectors answered, or could not."""

    received: Received
    inspection: Inspection


@dataclass(frozen=True, slots=True)
class Decided:
    """After decide; nothing is durable yet."""

    inspected: Inspected
    decision: Decision


@dataclass(frozen=True, slots=True)
class Recorded:
    """After the durable commit: `states` are the recipients' states in order, `commitment` (hex) is that of the accepted event."""

    decided: Decided
    commitment: str
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class Adopted:
    """The client sent again what is in custody already, because it never heard so (RFC 1047): the message of then, the commitment of its
    accepted event, and the codes that the client was to hear."""

    message_id: uuid.UUID
    commitment: str
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ticket:
    """One recipient of a claim. `attempts` counts marked attempts before this one; `interrupted` says that one of them was marked and
    has no
    outcome, so that sending again may send twice. `release` is set where staff released it."""

    ordinal: int
    recipient: Recipient
    state: State
    attempts: int
    interrupted: bool = False
    release: Release | None = None
    delay_notified: bool = False


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What the record holds of a message in custody, enough to inspect, decide, sign, deliver and bounce without its sender."""

    id: uuid.UUID
    received_us: int
    peer: Peer
    client: str
    sender: Sender
    spool_object: str
    size: int
    digest: str
    body_hash: str
    vouched: bool
    authorised: bool
    inspection: Inspection
    commitment: str
    recipients_total: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A lease on the deliveries of one message over one route (or on its undecided ones). `fence` rises with every claim: a write that
    names
    an older fence changes nothing. Of its `effects` the way is the same for all
    of its tickets: what leaves is one copy."""

    message: StoredMessage
    route: str
    tickets: tuple[Ticket, ...]
    epoch: Epoch
    owner: str
    fence: int
    lease_until_us: int
    expires_us: int
    effects: Effects = NO_EFFECTS


@dataclass(frozen=True, slots=True)
class Signed:
    """What goes in front of the untouched body: trace and signature fields, each CRLF-ended; `skip` are (start, end) byte ranges of header
    fields forged in our name, which do not leave."""

    claimed: Claimed
    prefix: bytes
    skip: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one ticket: `state` DELIVERED, or READY where it is tried again, or the failure as decided by bounce policy.

    `reply` is the next hop's, printable; `status` an enhanced status code (RFC 3463); `next_hop` is `host[address]:port`; `dsn_passed` says
    that the next hop took over the DSN duty; `unknown` that the final dot was sent and no reply came, so that the next attempt may send
    twice; `rest` that it was not tried, because its destination is left alone for so many seconds more."""

    ordinal: int
    state: State
    reply: str
    status: str
    next_hop: str = ""
    tls: str = ""
    dsn_passed: bool = False
    prefix_sha256: str = ""
    attempted: bool = True
    unknown: bool = False
    rest: float = 0.0
