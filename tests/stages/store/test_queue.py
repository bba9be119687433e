"""Claims, leases, fences and marks: who may send what, and when a second sending is possible."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.model.ids import new_id
from relay.model.message import Claimed, Outcome, Signed
from relay.record import Record
from relay.store import far_ahead, queue, states
from relay.store.queue import DELIVERY, MESSAGE, LeaseLost
from tests.servers.recording import LEASE_US, SECOND, Recording


def mark(recording: Recording, claimed: Claimed) -> None:
    asyncio.run(recording.record.mark(claimed, (0, 0, 0)))


def deliveries(recording: Recording, column: str) -> list[object]:
    return [row[column] for row in recording.rows("delivery")]


def deliver(recording: Recording, claimed: Claimed, state: State = State.DELIVERED, next_us: int | None = None) -> None:
    outcomes = [Outcome(ticket.ordinal, state, "250 2.0.0 Ok", "2.0.0") for ticket in claimed.tickets]
    due = {ticket.ordinal: next_us for ticket in claimed.tickets} if next_us is not None else {}
    asyncio.run(recording.record.outcomes(Signed(claimed, b""), outcomes, due))


def test_what_is_due_is_claimed_once(recording: Recording) -> None:
    recording.accept(State.READY, State.READY)
    [claimed] = recording.claim("relay-1")
    assert [ticket.ordinal for ticket in claimed.tickets] == [0, 1]
    assert (claimed.owner, claimed.route, claimed.lease_until_us) == ("relay-1", "out", recording.clock.now_us() + LEASE_US)
    assert recording.claim("relay-2") == []
    assert not recording.reader.read_now(lambda connection: queue.is_due(connection, recording.clock.now_us()))


def test_a_claim_gives_back_what_was_recorded(recording: Recording) -> None:
    recorded = recording.accept()
    received = recorded.decided.inspected.received
    [claimed] = recording.claim()
    message = claimed.message
    assert (message.id, message.peer, message.sender) == (received.id, received.peer, received.envelope.sender)
    assert message.inspection == recorded.decided.inspected.inspection
    assert (message.digest, message.commitment, message.spool_object) == (received.body.digest, recorded.commitment, received.body.object)
    assert claimed.tickets[0].recipient == received.envelope.recipients[0]
    assert claimed.epoch == recorded.decided.decision.epoch


def test_what_is_not_ready_is_not_in_the_queue(recording: Recording) -> None:
    recording.accept(State.HELD, State.QUARANTINED, State.REFUSED)
    recording.clock.forward(10 * LEASE_US)
    assert recording.rows("queue") == []
    assert recording.claim() == []


def test_what_was_deferred_is_due_later_and_without_a_route(recording: Recording) -> None:
    recording.accept(State.UNDECIDED)
    assert recording.claim() == []
    recording.clock.forward(300 * SECOND)
    [claimed] = recording.claim()
    assert claimed.route == ""


def test_different_routes_and_epochs_of_one_message_are_different_claims(recording: Recording) -> None:
    recording.accept(State.READY, State.UNDECIDED, State.READY)
    recording.clock.forward(300 * SECOND)
    claims = {claimed.route: [ticket.ordinal for ticket in claimed.tickets] for claimed in recording.claim()}
    assert claims == {"out": [0, 2], "": [1]}


def test_a_clock_that_was_put_forward_takes_nothing_away_from_whom_it_is_at_work(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim("relay-1")
    recording.clock.forward(10 * LEASE_US)
    now_us = recording.clock.now_us()
    at_work = {claimed.message.id}
    assert recording.journal.submit_now(lambda connection: queue.claim(connection, "relay-1", now_us, LEASE_US, 10, at_work)) == []
    [taken] = recording.journal.submit_now(lambda connection: queue.claim(connection, "relay-2", now_us, LEASE_US, 10, {new_id()}))
    assert taken.owner == "relay-2"


def test_no_more_rows_are_claimed_than_asked_for_and_the_oldest_first(recording: Recording) -> None:
    first = recording.accept()
    recording.clock.forward(SECOND)
    recording.accept()
    [claimed] = recording.claim(limit=1)
    assert claimed.message.id == first.decided.inspected.received.id
    assert len(recording.claim(limit=10)) == 1


def test_a_lease_that_ran_out_is_taken_over_and_the_first_can_write_nothing_more(recording: Recording) -> None:
    recording.accept()
    [first] = recording.claim("relay-1")
    recording.clock.forward(LEASE_US + 1)
    [second] = recording.claim("relay-2")
    assert second.fence > first.fence
    assert not second.tickets[0].interrupted
    with pytest.raises(LeaseLost):
        mark(recording, first)
    with pytest.raises(LeaseLost):
        deliver(recording, first)
    assert len(recording.rows("event")) == 1, "the outcome that was refused left no event"
    with pytest.raises(LeaseLost):
        recording.write(lambda connection: queue.renew(connection, first, recording.clock.now_us(), LEASE_US))
    recording.write(lambda connection: queue.give_back(connection, first, 0))
    assert recording.rows("queue")[0]["owner"] == "relay-2"
    deliver(recording, second)
    assert deliveries(recording, "state") == ["delivered"]


def test_an_owner_of_the_same_name_but_an_older_fence_can_write_nothing(recording: Recording) -> None:
    recording.accept()
    [first] = recording.claim("relay-1")
    recording.clock.forward(LEASE_US + 1)
    recording.claim("relay-1")
    with pytest.raises(LeaseLost):
        mark(recording, first)


def test_a_mark_is_refused_when_the_lease_ran_out_though_nobody_took_it(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim()
    recording.clock.forward(LEASE_US)
    with pytest.raises(LeaseLost):
        mark(recording, claimed)
    assert recording.rows("queue")[0]["marked_fence"] is None


def test_a_slow_delivery_that_renews_its_lease_may_still_send(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim()
    recording.clock.forward(LEASE_US // 2)
    recording.write(lambda connection: queue.renew(connection, claimed, recording.clock.now_us(), LEASE_US))
    recording.clock.forward(LEASE_US * 3 // 4)
    assert recording.claim("relay-2") == []
    mark(recording, claimed)


def test_a_marked_attempt_without_an_outcome_is_a_possible_duplicate_and_the_record_names_it(recording: Recording) -> None:
    recording.accept(State.READY, State.READY)
    [first] = recording.claim("relay-1")
    mark(recording, first)
    recording.clock.forward(LEASE_US + 1)
    [second] = recording.claim("relay-2")
    assert [ticket.interrupted for ticket in second.tickets] == [True, True]
    assert deliveries(recording, "possible_duplicates") == [1, 1]
    deliver(recording, second)
    canonical = max(recording.rows("event_record"), key=lambda row: row["event_id"])["canonical"]
    assert b'"possible_duplicate":true' in canonical


def test_an_attempt_that_was_never_marked_is_no_duplicate(recording: Recording) -> None:
    recording.accept()
    recording.claim("relay-1")
    recording.clock.forward(LEASE_US + 1)
    [second] = recording.claim("relay-2")
    assert not second.tickets[0].interrupted
    assert deliveries(recording, "possible_duplicates") == [0]


def test_an_attempt_with_an_outcome_is_no_duplicate_when_it_is_tried_again(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim()
    mark(recording, claimed)
    later = recording.clock.now_us() + 60 * SECOND
    deliver(recording, claimed, State.READY, later)
    assert recording.claim() == []
    recording.clock.forward(60 * SECOND)
    [again] = recording.claim()
    assert (again.tickets[0].interrupted, again.tickets[0].attempts) == (False, 1)
    assert (deliveries(recording, "attempts"), deliveries(recording, "possible_duplicates")) == ([1], [0])


def test_a_reply_that_never_came_is_a_possible_duplicate(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim()
    mark(recording, claimed)
    outcome = Outcome(0, State.READY, "no reply", "4.4.2", unknown=True)
    asyncio.run(recording.record.outcomes(Signed(claimed, b""), [outcome], {}))
    assert recording.claim()[0].tickets[0].interrupted
    assert deliveries(recording, "possible_duplicates") == [1]


def test_what_is_given_back_is_due_again_and_its_mark_still_tells(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim("relay-1")
    mark(recording, claimed)
    asyncio.run(recording.record.withdraw(claimed, recording.clock.now_us()))
    [again] = recording.claim("relay-2")
    assert again.tickets[0].interrupted


def test_staff_that_holds_what_was_marked_leaves_the_possible_duplicate_in_the_record(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim()
    mark(recording, claimed)
    identity = claimed.message.id
    now_us = recording.clock.now_us()
    recording.write(lambda connection: states.move(connection, identity, 0, State.HELD, now_us))
    assert deliveries(recording, "possible_duplicates") == [1]
    with pytest.raises(LeaseLost):
        deliver(recording, claimed)
    entry = states.QueueEntry("out", claimed.epoch.policy, claimed.epoch.phase, now_us, claimed.expires_us)
    recording.write(lambda connection: states.move(connection, identity, 0, State.UNDECIDED, now_us, entry))
    assert recording.claim()[0].tickets[0].interrupted


def test_what_is_queued_again_meanwhile_shuts_out_the_claim_of_before(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim()
    entry = states.QueueEntry("", "ab" * 32, "next", recording.clock.now_us(), claimed.expires_us)
    identity = claimed.message.id
    recording.write(lambda connection: states.move(connection, identity, 0, State.UNDECIDED, recording.clock.now_us(), entry))
    with pytest.raises(LeaseLost):
        mark(recording, claimed)
    [again] = recording.claim()
    assert (again.epoch, again.fence > claimed.fence) == (Epoch("ab" * 32, "next"), True)


def test_a_start_on_sqlite_ends_the_leases_of_the_dead_process(recording: Recording) -> None:
    recording.accept(State.READY, State.READY)
    [claimed] = recording.claim()
    mark(recording, claimed)
    assert recording.write(queue.end_leases) == 2
    [again] = recording.claim()
    assert all(ticket.interrupted for ticket in again.tickets)


def test_a_claim_that_covers_more_than_is_left_is_lost_as_a_whole(recording: Recording) -> None:
    recording.accept(State.READY, State.READY)
    [claimed] = recording.claim()
    recording.write(lambda connection: states.move(connection, claimed.message.id, 1, State.DELETED, recording.clock.now_us()))
    with pytest.raises(LeaseLost):
        mark(recording, claimed)
    with pytest.raises(LeaseLost):
        deliver(recording, claimed)
    deliver(recording, replace(claimed, tickets=claimed.tickets[:1]))
    assert deliveries(recording, "state") == ["delivered", "deleted"]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_two_processes_that_claim_at_once_get_different_rows(recording: Recording) -> None:
    for _ in range(4):
        recording.accept()
    now_us = recording.clock.now_us()
    with recording.engine.begin() as first, recording.engine.begin() as second:
        one = queue.claim(first, "relay-1", now_us, LEASE_US, 2)
        two = queue.claim(second, "relay-2", now_us, LEASE_US, 10)
    assert len(one) == len(two) == 2
    assert {claimed.message.id for claimed in one}.isdisjoint({claimed.message.id for claimed in two})


class SlowCommit:
    """A clock that is asked in the mark and after it; a process that is stopped in between sees it leap."""

    def __init__(self, recording: Recording, leap_us: int) -> None:
        self.recording = recording
        self.leap_us = leap_us
        self.asked = 0

    def now_us(self) -> int:
        self.asked += 1
        if self.asked == 2:
            self.recording.clock.forward(self.leap_us)
        return self.recording.clock.now_us()


def test_who_stood_still_while_its_mark_was_committed_may_not_send_and_the_next_names_a_possible_duplicate(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim("relay-1")
    slow = Record(recording.journal, recording.spool, SlowCommit(recording, 2 * LEASE_US), "relay.example.nl", 1, 1)
    with pytest.raises(LeaseLost):
        asyncio.run(slow.mark(claimed, (0, 0, 0)))
    [again] = recording.claim("relay-2")
    assert again.tickets[0].interrupted
    assert deliveries(recording, "possible_duplicates") == [1]


def test_what_a_wrong_clock_put_off_is_due_now_and_a_lease_of_a_dead_process_ends(recording: Recording) -> None:
    year, far = 365 * 86_400 * SECOND, 10 * LEASE_US

    def mended() -> int:
        now_us = recording.clock.now_us()
        if not recording.reader.read_now(lambda connection: far_ahead.found(connection, now_us + far)):
            return 0
        return recording.write(lambda connection: far_ahead.mend(connection, now_us, LEASE_US, now_us + far))

    recording.accept()
    recording.clock.forward(year)
    [dead] = recording.claim("relay-1")
    recording.accept(State.UNDECIDED)
    recording.clock.forward(-year)
    assert recording.claim("relay-2") == []
    assert mended() == 2
    [decides] = recording.claim("relay-2")
    assert decides.route == "", "what was leased has its time"
    recording.clock.forward(LEASE_US + 1)
    assert dead.message.id in {claimed.message.id for claimed in recording.claim("relay-2")}
    assert mended() == 0


def test_what_is_to_come_is_not_mended(recording: Recording) -> None:
    recording.accept(State.READY, State.UNDECIDED)
    [claimed] = recording.claim("relay-1")
    now_us = recording.clock.now_us()
    assert not recording.reader.read_now(lambda connection: far_ahead.found(connection, now_us + LEASE_US))
    assert recording.write(lambda connection: far_ahead.mend(connection, now_us, LEASE_US, now_us + LEASE_US)) == 0
    mark(recording, claimed)


@pytest.mark.parametrize(
    ("table", "column"), [("delivery", "envelope"), ("delivery", "effects"), ("message", "peer"), ("message", "inspection")]
)
def test_what_can_not_be_read_is_told_and_keeps_no_other_mail_waiting(
    recording: Recording, caplog: pytest.LogCaptureFixture, table: str, column: str
) -> None:
    damaged, sound = (recording.accept(State.READY).decided.inspected.received.id for _ in range(2))
    of = {"delivery": DELIVERY.c.message_id, "message": MESSAGE.c.id}[table]
    [before] = [row[column] for row in recording.rows(table) if damaged in (row.get("message_id"), row.get("id"))]
    recording.write(lambda connection: connection.execute(update(of.table).where(of == damaged).values({column: ["nonsense"]})))

    assert [claimed.message.id for claimed in recording.claim()] == [sound]
    assert [record.fields["message"] for record in caplog.records] == [damaged.hex]  # type: ignore[attr-defined]
    assert recording.claim() == []

    recording.write(lambda connection: connection.execute(update(of.table).where(of == damaged).values({column: before})))
    recording.clock.forward(LEASE_US + 1)
    assert damaged in {claimed.message.id for claimed in recording.claim("relay-2")}
