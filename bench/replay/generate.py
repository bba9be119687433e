"""A store of as many messages as wanted: a few hundred kinds, decided by the policy as the relay decides, each then written many times
under other ids, addresses and digests. SQLite, without indexes by address: replay reads by id only."""

import json
import random
import sqlite3
import sys
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.types import JSON

from relay.decide import decide
from relay.decide.answer import answer
from relay.judge import case_of, day_of
from relay.model.address import Mailbox
from relay.model.client import Peer, Side, Tls
from relay.model.decision import Epoch
from relay.model.envelope import Envelope, Recipient, Sender
from relay.model.features import Attachment, Header, Inspection
from relay.model.finding import Finding, Kind
from relay.model.message import Body, Decided, Inspected, Received
from relay.policy.models import Policy
from relay.record.rows import delivery_row, message_row
from relay.settings.models import Store
from relay.store import schema
from relay.store.engine import open_engine
from relay.store.tables import Delivery, Message

KINDS = 400
BATCH = 5_000
OCTETS_A_MESSAGE = 6_000
"""On the disk, two recipients to a message on average, as measured, and half as much again."""
DAY_US = 86_400 * 1_000_000
TABLES: dict[str, Any] = {"message": Message.__table__, "delivery": Delivery.__table__}  # type: ignore[attr-defined]
NAMES = ("report.pdf", "hearing.docx", "photo.jpg", "list.xlsx", "setup.exe", "budget.xlsm", "files.zip", "invoice.js")
TYPES = ("application/pdf", "application/zip", "image/jpeg", "application/x-dosexec", "text/plain")
FINDINGS = (
    Finding(Kind.MALWARE, "clamd", "Win.Test.EICAR_HDB-1"),
    Finding(Kind.TYPE, "type", "not-what-it-says", "2"),
    Finding(Kind.ARCHIVE, "archive", "too-many-members", "2"),
    Finding(Kind.RULE, "yara", "loud", "2"),
    Finding(Kind.PERSONAL, "personal", "bsn", "1"),
    Finding(Kind.ENCRYPTED, "archive", "encrypted-zip", "2"),
)
OUTSIDE = ("court.example", "police.example", "elsewhere.example", "mail.example", "bank.example")


@dataclass(frozen=True)
class Written:
    """How much there is."""

    messages: int
    recipients: int


def generate(path: Path, policy: Policy, messages: int, days: int, now_us: int, seed: int = 1, quiet: bool = False) -> Written:
    """Makes the store, which must not be there yet."""
    engine = open_engine(Store(url=f"sqlite:///{path}"))
    schema.upgrade(engine)
    with engine.begin() as connection:
        for table in TABLES.values():
            for index in table.indexes:
                index.drop(connection)
    engine.dispose()
    rng = random.Random(seed)
    kinds = [_kind(rng, policy, now_us) for _ in range(KINDS)]
    plain = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous=OFF", "journal_mode=OFF", "cache_size=-200000"):
        plain.execute(f"PRAGMA {pragma}")
    recipients = 0
    for first in range(0, messages, BATCH):
        plain.execute("BEGIN")
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
        for number in range(first, min(first + BATCH, messages)):
            time_us = now_us - int(days * DAY_US * (1 - number / messages))
            recipients += _write(rows, kinds[rng.randrange(KINDS)], rng, time_us)
        for name, found in rows.items():
            columns = ", ".join(TABLES[name].columns.keys())
            plain.executemany(f"INSERT INTO {name} ({columns}) VALUES ({', '.join('?' * len(TABLES[name].columns))})", found)
        plain.execute("COMMIT")
        if not quiet:
            print(f"\r  {first + BATCH:>10,} of {messages:,} messages", end="", file=sys.stderr, flush=True)
    if not quiet:
        print(file=sys.stderr)
    plain.execute("PRAGMA journal_mode=WAL")
    plain.close()
    return Written(messages, recipients)


Kinds = tuple[dict[str, Any], list[dict[str, Any]], str]
"""Rows of a message and its deliveries with JSON as text, and the text that stands for what differs in each."""
MARK = "0f" * 16


def _kind(rng: random.Random, policy: Policy, now_us: int) -> Kinds:
    """Decided at the end of the time, in any phase, some under the brake."""
    decided = _decided(rng, policy, now_us)
    said = answer(decided.decision, lmtp=False, already_accepted=False, vouched=True)
    message = message_row(decided, str(said.codes[0]), "ab" * 32, None)
    deliveries = [delivery_row(decided, index, state) for index, state in enumerate(said.states)]
    return _texts("message", message), [_texts("delivery", row) for row in deliveries], MARK


def _texts(name: str, row: dict[str, Any]) -> dict[str, Any]:
    columns = TABLES[name].columns
    values = {key: row.get(key) for key in columns.keys()}  # noqa: SIM118 - a collection of columns, not a dictionary
    return {
        key: json.dumps(value, separators=(",", ":")) if isinstance(columns[key].type, JSON) and value is not None else value
        for key, value in values.items()
    }


def _decided(rng: random.Random, policy: Policy, now_us: int) -> Decided:
    inbound = rng.random() < 0.5
    ours, theirs = Mailbox(f"s.{MARK}", "example.org"), Mailbox(f"p.{MARK}", rng.choice(OUTSIDE))
    sender = theirs if inbound else ours
    to = [
        Recipient(Mailbox(f"r{index}", "example.org" if inbound or rng.random() < 0.2 else rng.choice(OUTSIDE)))
        for index in range(rng.choice((1, 1, 2, 4)))
    ]
    tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", None, ())
    side = Side.OUTSIDE if inbound else Side.INSIDE
    peer = Peer("outside" if inbound else "inside", side, "203.0.113.7" if inbound else "192.0.2.3", 40_000, "192.0.2.1", 25, tls=tls)
    received = Received(
        id=uuid.UUID(MARK),
        peer=replace(peer, helo="mail.example", esmtp=True),
        client="internet" if inbound else "mailservers",
        envelope=Envelope(Sender(None if inbound and rng.random() < 0.03 else sender), tuple(to)),
        body=Body("", rng.choice((4_000, 90_000, 30_000_000)), MARK + MARK, "aGFzaA=="),
        received_us=now_us,
        vouched=True,
        authorised=not inbound,
    )
    inspected = Inspected(received, _inspection(rng, str(sender)))
    epoch = Epoch(policy.digest, rng.choice(policy.organisation.phases + ("open",) * 6), rng.random() < 0.02)
    decision = decide(case_of(inspected), policy, epoch, day_of(now_us))
    return Decided(inspected, replace(decision, decided_us=now_us))


def _inspection(rng: random.Random, author: str) -> Inspection:
    if rng.random() < 0.02:
        return Inspection(Header(), findings=(Finding(Kind.CRASH, "inspect", "worker-died"),))
    header = Header(
        from_addresses=(author,),
        from_fields=1,
        from_display="Somebody de Vries",
        to=("r0@example.org",),
        subject="About the hearing of next week, and the room that it needs",
        message_id=f"<{MARK}@example.org>",
        date="Fri, 27 Nov 2026 09:00:00 +0100",
        received=rng.randrange(1, 6),
        size=1_800,
    )
    names = rng.sample(NAMES[: 4 if rng.random() < 0.8 else len(NAMES)], rng.choice((0, 0, 1, 1, 2, 3)))
    attachments = tuple(
        Attachment(str(place + 2), name, "application/octet-stream", rng.choice(TYPES), 50_000, MARK + MARK)
        for place, name in enumerate(names)
    )
    findings = tuple(rng.sample(FINDINGS, 1)) if rng.random() < 0.08 else ()
    away = ("yara",) if rng.random() < 0.01 else ()
    answered = tuple(name for name in ("yara", "type", "archive", "clamd") if name not in away)
    return Inspection(header, attachments, findings, unavailable=away, answered=answered, versions=(("yara", "1.9.0"), ("clamd", "27500")))


def _write(rows: dict[str, list[tuple[Any, ...]]], kind: Kinds, rng: random.Random, time_us: int) -> int:
    """Gives how many recipients it has."""
    message, deliveries, mark = kind
    identity = f"{time_us // 1000 << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62):032x}"
    times = {"received_us": time_us, "decided_us": time_us, "changed_us": time_us}
    rows["message"].append(tuple(_value(key, value, mark, identity, times) for key, value in message.items()))
    for delivery in deliveries:
        rows["delivery"].append(tuple(_value(key, value, mark, identity, times) for key, value in delivery.items()))
    return len(deliveries)


def _value(key: str, value: Any, mark: str, identity: str, times: dict[str, int]) -> Any:
    if key in ("id", "message_id"):
        return identity
    if key in times:
        return times[key]
    return value.replace(mark, identity) if isinstance(value, str) else value
