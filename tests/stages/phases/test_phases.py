"""Phase and brake: changed once, told in the audit; and the way back of what was held."""

import asyncio
import json
import uuid
from functools import partial

import pytest
from sqlalchemy import update

from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.phases import change, held, state
from relay.phases.state import ChangedMeanwhile
from relay.store import states
from tests.servers.recording import EPOCH, SECOND, Recording

NEXT = Epoch("cd" * 32, "partners")


def read(recording: Recording) -> state.PhaseState:
    return recording.reader.read_now(state.read)


def kinds(recording: Recording) -> list[tuple[str, str, str, str]]:
    found = [json.loads(row["canonical"]) for row in recording.rows("event_record")]
    return [(value["kind"], value["result"], value["actor"], value["reason"]) for value in found]


def bring_back(recording: Recording, epoch: Epoch = NEXT) -> int:
    """All that another epoch held; gives how many deliveries came back."""
    after: uuid.UUID | None = None
    total = 0
    while True:
        keys, after = recording.reader.read_now(partial(held.stale, epoch=epoch, after=after, limit=20))
        now_us = recording.clock.now_us()
        total += recording.write(partial(held.bring_back, keys=keys, epoch=epoch, now_us=now_us, expires_us=now_us + SECOND))
        if after is None:
            return total


def accept_held(recording: Recording, messages: int, recipients: int = 1) -> None:
    async def story() -> None:
        wanted = [State.HELD] * recipients
        await asyncio.gather(*(recording.record.accept(recording.decided(wanted), wanted) for _ in range(messages)))

    asyncio.run(story())


def test_before_anything_was_set_there_is_no_phase_and_no_brake(recording: Recording) -> None:
    found = read(recording)
    assert (found.phase, found.brake, found.brake_reason) == (None, False, "")


def test_a_phase_is_set_and_told_in_the_audit(recording: Recording) -> None:
    for phase in ("partners", "open"):
        recording.write(partial(change.set_phase, phase=phase, actor="anna", reason="report 7", now_us=1))
    assert read(recording).phase == "open"
    assert kinds(recording) == [("phase", "partners", "anna", "report 7"), ("phase", "open", "anna", "report 7")]


def test_the_brake_is_pulled_once_and_let_go_once(recording: Recording) -> None:
    pull = partial(change.pull_brake, actor="anna", reason="odd mail", now_us=1)
    release = partial(change.release_brake, actor="bert", reason="looked", now_us=2)
    assert [recording.write(work) for work in (pull, pull, release, release, pull)] == [True, False, True, False, True]
    assert [kind[1] for kind in kinds(recording)] == ["on", "off", "on"]
    assert read(recording).brake_reason == "odd mail"


def test_who_looked_at_an_older_state_changes_nothing(recording: Recording) -> None:
    recording.write(lambda connection: state.set_brake(connection, True, "a", 0))
    seen = read(recording)
    recording.write(lambda connection: state.set_brake(connection, False, "b", seen.brake_fence))
    with pytest.raises(ChangedMeanwhile):
        recording.write(lambda connection: state.set_brake(connection, True, "c", seen.brake_fence))
    with pytest.raises(ChangedMeanwhile):
        recording.write(lambda connection: state.set_brake(connection, True, "c", 0))
    assert not read(recording).brake


def test_phase_and_brake_have_fences_of_their_own(recording: Recording) -> None:
    recording.write(lambda connection: state.set_brake(connection, True, "a", 0))
    recording.write(lambda connection: state.set_phase(connection, "open", 0))
    found = read(recording)
    assert (found.phase_fence, found.brake_fence) == (1, 1)


def test_what_was_held_comes_back_to_be_decided_again(recording: Recording) -> None:
    recording.accept(State.HELD, State.READY, State.QUARANTINED)
    assert bring_back(recording) == 1
    assert [row["state"] for row in recording.rows("delivery")] == ["undecided", "ready", "quarantined"]
    queued = recording.rows("queue")[0]
    assert (queued["route"], queued["policy"], queued["phase"]) == ("", NEXT.policy, NEXT.phase)
    undecided = next(claimed for claimed in recording.claim() if claimed.route == "")
    assert [ticket.ordinal for ticket in undecided.tickets] == [0]
    assert recording.reader.read_now(states.balance).holds


def test_a_long_backlog_comes_back_in_pages_and_each_delivery_once(recording: Recording) -> None:
    """Some messages have more recipients than a page."""
    accept_held(recording, 10, recipients=25)
    accept_held(recording, 45)
    assert bring_back(recording) == 295
    assert {row["state"] for row in recording.rows("delivery")} == {"undecided"}
    assert len(recording.rows("queue")) == 295
    assert bring_back(recording) == 0


def test_what_the_present_epoch_held_stays_unless_the_brake_did(recording: Recording) -> None:
    accept_held(recording, 2)
    assert bring_back(recording, EPOCH) == 0
    identity = recording.rows("delivery")[0]["message_id"]
    with recording.engine.begin() as connection:
        connection.execute(update(held.DELIVERY).where(held.DELIVERY.c.message_id == identity).values(rules=[{"rule": "brake"}]))
    assert bring_back(recording, EPOCH) == 1


def test_no_more_comes_back_than_can_be_decided(recording: Recording) -> None:
    accept_held(recording, 3)
    assert not recording.reader.read_now(partial(held.crowded, limit=3))
    bring_back(recording)
    assert recording.reader.read_now(partial(held.crowded, limit=3))
    assert not recording.reader.read_now(partial(held.crowded, limit=4))


def test_what_staff_holds_stays_held(recording: Recording) -> None:
    identity = recording.accept(State.READY).decided.inspected.received.id
    recording.write(lambda connection: states.move(connection, identity, 0, State.HELD, 1, disposition=held.BY_STAFF))
    bring_back(recording)
    assert [row["state"] for row in recording.rows("delivery")] == ["held"]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_two_processes_that_bring_back_at_once_move_each_delivery_once(recording: Recording) -> None:
    """The second finds nothing held any more, and takes no claim away that was made meanwhile."""
    accept_held(recording, 3)
    keys, _ = recording.reader.read_now(partial(held.stale, epoch=NEXT, after=None))
    work = partial(held.bring_back, keys=keys, epoch=NEXT, now_us=1, expires_us=2)

    async def story() -> None:
        with recording.engine.begin() as other:
            work(other)
            late = asyncio.ensure_future(recording.journal.submit(work))
            done, _ = await asyncio.wait([late], timeout=0.2)
            assert not done, "the rows are locked by the first"
        await late

    asyncio.run(story())
    assert [row["fence"] for row in recording.rows("queue")] == [0, 0, 0]
    assert recording.reader.read_now(states.balance).holds
