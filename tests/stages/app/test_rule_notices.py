"""How many notices of a rule somebody gets: so many in an hour, and then one that tells of the rest."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import select

from relay.app.rule_notices import HOUR_US, RuleNotices
from relay.model.address import Mailbox
from relay.model.delivery import State
from relay.model.effects import Effects
from relay.model.reply import Reply
from relay.store import notifications
from relay.store.counters import Counters
from tests.servers.recording import Recording

DESK, EVIDENCE = "desk@example.nl", Effects(notify=(("evidence", "desk@example.nl"),))


class OurOwnRoad:
    """An intake that takes everything, and keeps it."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def take_in(self, identity: uuid.UUID, raw: bytes, recipient: Mailbox, in_force: object) -> tuple[Reply, ...]:
        self.taken.append(raw)
        return (Reply(250, 0, 0, "Ok"),)


class Alone:
    """Every job is ours; and a policy that nobody looks at."""

    async def mine(self, job: str, every: float) -> bool:
        return True

    def current(self) -> tuple[None, None]:
        return None, None


def match(recording: Recording, times: int) -> None:
    """So many messages that the rule matched."""
    for _ in range(times):
        found = recording.decided([State.QUARANTINED])
        verdicts = tuple(replace(verdict, effects=EVIDENCE) for verdict in found.decision.verdicts)
        decided = replace(found, decision=replace(found.decision, verdicts=verdicts))
        asyncio.run(recording.record.accept(decided, [State.QUARANTINED]))


def notices(recording: Recording, road: OurOwnRoad, each_hour: int) -> RuleNotices:
    anything: Any = Alone()
    return RuleNotices(
        cast("Any", road),
        anything,
        recording.journal,
        recording.reader,
        recording.clock,
        anything,
        Counters(recording.journal),
        each_hour,
        "relay.example.nl",
        "a process",
    )


def test_what_is_over_the_hour_is_held_back_and_told_in_one_notice_of_the_next(recording: Recording) -> None:
    road = OurOwnRoad()
    told = notices(recording, road, each_hour=3)
    match(recording, 8)
    asyncio.run(told.turn())
    assert len(road.taken) == 3
    assert not any(b"more messages" in raw for raw in road.taken)
    asyncio.run(told.turn())
    assert len(road.taken) == 3, "nothing more in this hour"
    recording.clock.forward(HOUR_US)
    asyncio.run(told.turn())
    assert len(road.taken) == 4
    assert b"It has matched 4 more messages, of which no notice was sent." in road.taken[-1]
    with recording.engine.connect() as connection:
        results = connection.execute(select(notifications.NOTIFICATION.c.result)).scalars().all()
    assert sorted(result[:5] for result in results) == ["250"] * 4 + ["with "] * 4
    recording.clock.forward(HOUR_US)
    match(recording, 1)
    asyncio.run(told.turn())
    assert len(road.taken) == 5
    assert b"more messages" not in road.taken[-1]
