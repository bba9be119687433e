"""Rows of the record as a message would leave them, made by the judge and the record of the relay, without store and spool."""

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from relay.decide.answer import answer
from relay.judge import Judge
from relay.model.case import Case
from relay.model.client import Side, Tls
from relay.model.decision import Epoch, Release
from relay.model.envelope import Envelope, Sender
from relay.model.features import Inspection
from relay.model.message import Body, Decided, Received
from relay.policy.models import Client, Policy
from relay.record.rows import delivery_row, message_row
from relay.rehearsal.replay.again import Again
from relay.rehearsal.replay.counts import Counts
from relay.road import client_named
from relay.store.codec import release_to_json
from tests.fakes.custody import NOW_US, PEER, mailbox


class Moment:
    """A clock at one moment."""

    def __init__(self, time_us: int) -> None:
        self._time_us = time_us

    def now_us(self) -> int:
        return self._time_us


def client(name: str = "exchange", **changes: Any) -> Client:
    """One that may send as everybody."""
    return Client(**{"name": name, "side": "inside", "may_send_as": ("*",), "may_send_to": ("*",), "require_tls": False, **changes})


def recorded(
    about: Case, policy: Policy, epoch: Epoch, decided_us: int = NOW_US, releases: Mapping[int, Release] | None = None, **columns: Any
) -> tuple[Any, list[Any]]:
    """The row of the message and those of its recipients, as they come back from a database. `columns` are of each recipient."""
    peer = replace(PEER, side=Side(about.side), tls=Tls("TLSv1.3", "x") if about.tls else None)
    received = Received(
        id=uuid.UUID(int=7),
        peer=peer,
        client=about.client,
        envelope=Envelope(Sender(mailbox(about.sender) if about.sender else None), about.recipients),
        body=Body("", about.size or 0, "ab" * 32, "x"),
        received_us=NOW_US,
        vouched=True,
        authorised=about.authorised,
    )

    async def inspect(body: Body, policy: Policy, authenticate: bool) -> Inspection:
        assert about.inspection is not None
        return about.inspection

    judge = Judge(inspect, lambda name, **fields: None, Moment(decided_us), 50)
    inspected = asyncio.run(judge.inspected(received, client_named(about.client, policy), policy))
    decision = judge.decide(inspected, policy, epoch, about.recipients_total or None, releases)
    decided = Decided(inspected, decision)
    said = answer(decision, lmtp=False, already_accepted=False, vouched=True)
    message = message_row(decided, "250", "ab" * 32, None) | {"recipients": max(about.recipients_total, len(about.recipients))}
    rows = [delivery_row(decided, index, state) for index, state in enumerate(said.states)]
    for index, release in (releases or {}).items():
        rows[index]["release"] = release_to_json(release)
    return _row(message), [_row(row | columns) for row in rows]


def _row(values: dict[str, Any]) -> Any:
    """JSON makes lists of tuples."""
    texts = json.loads(json.dumps({key: value for key, value in values.items() if isinstance(value, (dict, list))}))
    return SimpleNamespace(**(values | texts))


def again(policy: Policy, rows: Sequence[tuple[Any, list[Any]]], phase: str | None = None, limit: int = 20, whom: bool = False) -> Counts:
    """Decided again under `policy`."""
    counts = Counts(limit)
    one = Again(policy, phase, whom)
    for message, deliveries in rows:
        one.message(message, deliveries, counts)
    total = Counts(limit)
    total.add(counts)
    return total
