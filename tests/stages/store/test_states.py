"""One place where deliveries change their state: by the table, with the queue row, and with a balance that always holds (promise 14)."""

import uuid

import pytest
from sqlalchemy import text

from relay.model.delivery import FINISHED, MOVES, QUEUED, State
from relay.store import states
from relay.store.states import MoveRefused, QueueEntry
from tests.servers.recording import Recording

START = {state: state for state in (State.READY, State.UNDECIDED, State.HELD, State.QUARANTINED, State.REFUSED)}
"""States in which a message may be accepted; the others are reached from READY."""


def in_state(recording: Recording, state: State) -> uuid.UUID:
    if state is State.REFUSED:  # no recipient of a message that is refused as a whole is in custody
        recorded = recording.accept(State.READY, State.REFUSED)
        return recorded.decided.inspected.received.id
    recorded = recording.accept(START.get(state, State.READY))
    identity = recorded.decided.inspected.received.id
    if state not in START:
        move(recording, identity, state)
    return identity


def move(recording: Recording, identity: uuid.UUID, new: State, ordinal: int = 0) -> State:
    now_us = recording.clock.now_us()
    entry = QueueEntry("out", "ab" * 32, "open", now_us, now_us + 1) if new in QUEUED else None
    return recording.write(lambda connection: states.move(connection, identity, ordinal, new, now_us, entry))


def balance(recording: Recording) -> states.Balance:
    return recording.reader.read_now(states.balance)


def test_every_move_of_the_table_is_made_and_every_other_is_refused_and_changes_nothing(recording: Recording) -> None:
    for old in State:
        for new in State:
            ordinal = 1 if old is State.REFUSED else 0
            identity = in_state(recording, old)
            if new in MOVES[old] or (old is new and new in QUEUED):
                assert move(recording, identity, new, ordinal) is old
                after = new
            else:
                with pytest.raises(MoveRefused, match=f"is {old.value}, and can't become {new.value}"):
                    move(recording, identity, new, ordinal)
                after = old
            rows = {(row["message_id"], row["ordinal"]): row["state"] for row in recording.rows("delivery")}
            assert rows[identity, ordinal] == after.value
            queued = {(row["message_id"], row["ordinal"]) for row in recording.rows("queue")}
            assert ((identity, ordinal) in queued) == (after in QUEUED)
    assert balance(recording).holds


def test_a_delivery_that_is_not_there_is_refused(recording: Recording) -> None:
    with pytest.raises(MoveRefused, match="no delivery"):
        move(recording, uuid.uuid4(), State.DELETED)


def test_a_finished_delivery_stays_as_it_is(recording: Recording) -> None:
    for state in FINISHED - {State.REFUSED}:
        identity = in_state(recording, state)
        for new in State:
            with pytest.raises(MoveRefused):
                move(recording, identity, new)


def test_the_balance_counts_recipients_in_custody_and_where_they_went(recording: Recording) -> None:
    recording.accept(State.READY, State.HELD, State.QUARANTINED, State.REFUSED)
    move(recording, in_state(recording, State.READY), State.DELIVERED)
    move(recording, in_state(recording, State.HELD), State.DELETED)
    move(recording, in_state(recording, State.READY), State.BOUNCED)
    found = balance(recording)
    assert (found.accepted, found.delivered, found.bounced, found.deleted, found.waiting) == (6, 1, 1, 1, 3)
    assert found.holds
    assert found.difference == 0


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM delivery WHERE ordinal = 1",
        "UPDATE delivery SET state = 'delivered' WHERE ordinal = 0",
        "UPDATE delivery SET state = 'refused' WHERE ordinal = 0",
        "UPDATE tally SET count = count + 1 WHERE name = 'accepted'",
        "UPDATE tally SET count = count - 1 WHERE name = 'held'",
        "DELETE FROM tally",
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_balance_that_does_not_hold_is_seen(recording: Recording, harm: str) -> None:
    recording.accept(State.READY, State.HELD)
    assert balance(recording).holds
    with recording.engine.begin() as connection:
        connection.execute(text(harm))
    assert not balance(recording).holds


def test_running_counts_are_kept_by_each_process_in_rows_of_its_own(recording: Recording) -> None:
    """Two processes that count at once wait for each other nowhere, and what they count adds up."""
    with recording.engine.begin() as connection:
        connection.execute(text("INSERT INTO tally VALUES ('ready', 'elsewhere', 0)"))
    with recording.engine.connect() as other:
        if other.dialect.name == "postgresql":
            other.execute(text("UPDATE tally SET count = 0 WHERE shard = 'elsewhere'"))
        recording.accept(State.READY)
        other.rollback()
    assert balance(recording).holds
