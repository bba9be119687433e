"""The tables, the same on SQLite and PostgreSQL. Times are microseconds since 1970 UTC; JSON columns hold plain values; digests are hex."""

import uuid
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, text
from sqlmodel import Column, Field, SQLModel

_JSON_OR_NULL: Any = JSON(none_as_null=True)
"""None takes no room."""


class Message(SQLModel, table=True):
    """One transaction that reached the end of DATA, refused ones too (then without body). On PostgreSQL range-partitioned by id."""

    __tablename__ = "message"
    # Each list is read newest first, page by page: what it is searched by, then the id.
    __table_args__ = (
        Index("ix_message_sender", "sender", "id"),
        Index("ix_message_sender_domain", "sender_domain", "id"),
        Index("ix_message_header_message_id", "header_message_id", "id"),
        Index("ix_message_client", "client", "id"),
        Index("ix_message_commitment", "commitment"),
        # For retention: what is erased, or was refused, is looked at no more.
        Index("ix_message_body", "id", postgresql_where=text("spool_object IS NOT NULL"), sqlite_where=text("spool_object IS NOT NULL")),
    )

    id: uuid.UUID = Field(primary_key=True)
    received_us: int = Field(sa_type=BigInteger)
    direction: str
    client: str
    peer: dict[str, Any] = Field(sa_type=JSON)
    sender: str  # the key of the reverse-path; empty for the null one
    sender_domain: str = ""
    envelope: dict[str, Any] = Field(sa_type=JSON)  # MAIL parameters, the reverse-path as received
    header_message_id: str
    size: int = Field(sa_type=BigInteger)
    digest: str
    body_hash: str
    spool_object: str | None = None  # None: refused, or erased
    vouched: bool
    authorised: bool
    inspection: dict[str, Any] = Field(sa_type=JSON)
    policy: str
    phase: str
    reply: str
    commitment: str
    recipients: int


class Delivery(SQLModel, table=True):
    """One recipient of a message: written when it is accepted and when its state changes. Range-partitioned by message_id on PostgreSQL."""

    __tablename__ = "delivery"
    __table_args__ = (
        Index("ix_delivery_recipient", "recipient", "message_id"),
        Index("ix_delivery_recipient_domain", "recipient_domain", "message_id"),
        Index("ix_delivery_state", "state", "message_id"),
        Index(
            "ix_delivery_duplicates",
            "possible_duplicates",
            postgresql_where=text("possible_duplicates > 0"),
            sqlite_where=text("possible_duplicates > 0"),
        ),
    )

    message_id: uuid.UUID = Field(primary_key=True)
    ordinal: int = Field(primary_key=True)
    recipient: str  # the key of the address
    recipient_domain: str = ""
    envelope: dict[str, Any] = Field(sa_type=JSON)  # the address as received, DSN parameters
    state: str
    disposition: str
    rules: list[dict[str, Any]] = Field(sa_type=JSON)  # matches, waived ones too
    because: str = ""
    route: str | None = None
    policy: str
    phase: str
    attempts: int = 0
    possible_duplicates: int = 0
    release: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    outcome: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    changed_us: int = Field(sa_type=BigInteger)
    # For replay: what a decision rests on and the other columns do not tell. None: written by a version that did not record it.
    decided_us: int | None = Field(default=None, sa_type=BigInteger)
    deferred: bool | None = None
    observed: list[dict[str, Any]] | None = Field(default=None, sa_type=_JSON_OR_NULL)  # rules that would have matched; None: none
    inspection: dict[str, Any] | None = Field(default=None, sa_type=_JSON_OR_NULL)  # None: that of the message
    effects: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))  # besides the disposition


class Queue(SQLModel, table=True):
    """Only what is ready or being delivered; a row goes when its delivery is done."""

    __tablename__ = "queue"
    __table_args__ = (Index("ix_queue_next", "next_us"),)

    message_id: uuid.UUID = Field(primary_key=True)
    ordinal: int = Field(primary_key=True)
    route: str  # empty: to be inspected and decided again first
    policy: str  # the epoch that it was decided in
    phase: str
    next_us: int = Field(sa_type=BigInteger)
    expires_us: int = Field(sa_type=BigInteger)
    attempts: int = 0
    owner: str | None = None
    lease_until_us: int | None = Field(default=None, sa_type=BigInteger)
    fence: int = 0
    marked_fence: int | None = None  # an attempt with this fence may have sent the final dot
    delay_notified: bool = False


ORDINARY_EVENTS = ("accepted", "outcome")
"""What every delivery writes. An index by kind would cost each of them, and serve nobody."""
RARE_EVENTS = text("kind NOT IN ('accepted', 'outcome')")
"""The condition of the index by kind, word for word: SQLite uses a partial index only for a query that says the same."""


class Event(SQLModel, table=True):
    """Append-only; a trigger refuses UPDATE and DELETE. Nothing personal."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_kind", "kind", "id", postgresql_where=RARE_EVENTS, sqlite_where=RARE_EVENTS),)

    id: uuid.UUID = Field(primary_key=True)
    kind: str
    commitment: bytes = Field(sa_type=LargeBinary)


class EventRecord(SQLModel, table=True):
    """What an event committed to: `canonical` is RFC 8785 JSON, `salt` 32 random bytes. Erasable, by one function."""

    __tablename__ = "event_record"
    __table_args__ = (Index("ix_event_record_message", "message_id"),)

    event_id: uuid.UUID = Field(primary_key=True)
    message_id: uuid.UUID | None = None
    canonical: bytes = Field(sa_type=LargeBinary)
    salt: bytes = Field(sa_type=LargeBinary)


class Request(SQLModel, table=True):
    """What a person asked for; it takes effect at once, or when a second person has approved."""

    __tablename__ = "request"
    __table_args__ = (Index("ix_request_state", "state", "id"),)

    id: uuid.UUID = Field(primary_key=True)
    kind: str
    message_id: uuid.UUID | None = Field(default=None, index=True)
    details: dict[str, Any] = Field(sa_type=JSON)
    actor: str
    reason: str
    asked_us: int = Field(sa_type=BigInteger)
    state: str  # open, done, refused


class Approval(SQLModel, table=True):
    """The second person's word on a request."""

    __tablename__ = "approval"

    request_id: uuid.UUID = Field(primary_key=True)
    actor: str
    reason: str
    approved_us: int = Field(sa_type=BigInteger)
    approved: bool


class Kept(SQLModel, table=True):
    """A message that retention must leave as it is, such as for a court: who said so, and why."""

    __tablename__ = "kept"

    message_id: uuid.UUID = Field(primary_key=True)
    actor: str
    reason: str
    kept_us: int = Field(sa_type=BigInteger)


class Notification(SQLModel, table=True):
    """Somebody whom a rule tells of a message, once: `notice_id` is the message that tells it, `due_us` when to write it, NULL when that is
    done (`result` is the reply of our own road)."""

    __tablename__ = "notification"
    __table_args__ = (
        Index("ix_notification_due", "due_us", postgresql_where=text("due_us IS NOT NULL"), sqlite_where=text("due_us IS NOT NULL")),
    )

    message_id: uuid.UUID = Field(primary_key=True)
    rule: str = Field(primary_key=True)
    address: str = Field(primary_key=True)
    notice_id: uuid.UUID
    due_us: int | None = Field(default=None, sa_type=BigInteger)
    result: str = ""


class PolicyVersion(SQLModel, table=True):
    """Every policy that was ever proposed or in force: `files` maps relative path to text."""

    __tablename__ = "policy_version"

    digest: str = Field(primary_key=True)
    files: dict[str, str] = Field(sa_type=JSON)
    first_us: int = Field(sa_type=BigInteger)


class PolicyRollout(SQLModel, table=True):
    """One way of a policy into force: proposed (then `id` is that of its request), or taken from a folder."""

    __tablename__ = "policy_rollout"
    __table_args__ = (Index("ix_policy_rollout_digest", "digest", "id"),)

    id: uuid.UUID = Field(primary_key=True)
    digest: str
    before: str | None = None  # what was in force then
    origin: str  # proposed, rollback, folder
    author: str
    reason: str
    asked_us: int = Field(sa_type=BigInteger)
    tests: dict[str, str] = Field(sa_type=JSON)  # the tests beside it: relative path to Base64
    tested: dict[str, Any] = Field(sa_type=JSON)  # what they said: run, and how many
    replay: dict[str, Any] | None = Field(default=None, sa_type=JSON)  # what a replay of the record said; None: it was not replayed
    live_us: int | None = Field(default=None, sa_type=BigInteger)  # since when it was in force; None: never


class Control(SQLModel, table=True):
    """The few things that are so for the whole installation, one row each: policy, phase, brake; and what each policy folder held when its
    machine last looked."""

    __tablename__ = "control"

    name: str = Field(primary_key=True)
    value: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    epoch: int = 0  # rises with every change: the fence


class Counter(SQLModel, table=True):
    """A rate counter in its window, leased in blocks and flushed, never one row update per message."""

    __tablename__ = "counter"

    scope: str = Field(primary_key=True)  # client or sender, messages or recipients, hour or day
    key: str = Field(primary_key=True)
    window_us: int = Field(primary_key=True, sa_type=BigInteger)
    count: int = Field(sa_type=BigInteger)


class Tally(SQLModel, table=True):
    """Running counts for the balance (promise 14), moved in the same transaction as what they count; several rows a name, so that none
    is hot.
    """

    __tablename__ = "tally"

    name: str = Field(primary_key=True)
    shard: str = Field(primary_key=True)
    count: int = Field(sa_type=BigInteger)


class Unheard(SQLModel, table=True):
    """A receipt (250) of which nobody knows yet whether its client heard it: from the commit of the message to the next word of the client,
    for a day at most. The same client with the same envelope and bytes hears it again (RFC 1047)."""

    __tablename__ = "unheard"

    key: bytes = Field(sa_type=LargeBinary, primary_key=True)  # SHA-256 over client, envelope and digest of the bytes
    message_id: uuid.UUID
    accepted_us: int = Field(sa_type=BigInteger)
    commitment: str
    codes: str  # of the replies, with commas: several under LMTP
