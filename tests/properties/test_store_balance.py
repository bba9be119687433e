"""Whatever happens to deliveries, in whatever order: moves follow the table, and what was accepted is accounted for (promise 14)."""

import atexit
import functools
import shutil
import tempfile
import uuid
from functools import partial
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from relay.model.delivery import QUEUED, State, may_move
from relay.store import queue, states
from relay.store.queue import LeaseLost
from relay.store.states import MoveRefused, QueueEntry
from tests.servers.database import sqlite_database
from tests.servers.recording import LEASE_US, Recording, recording_on

ACCEPTED_AS = st.sampled_from([State.READY, State.UNDECIDED, State.HELD, State.QUARANTINED, State.REFUSED])


@functools.cache
def _migrated() -> Path:
    """The folder of an empty store, migrated once."""
    folder = Path(tempfile.mkdtemp(prefix="sluis-balance-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sqlite_database(folder).upgrade()
    return folder


class Deliveries(RuleBasedStateMachine):
    """Accepts, moves, claims, marks and loses leases on a real store, beside a dictionary that says what must be so."""

    deliveries: Bundle[tuple[uuid.UUID, int]] = Bundle("deliveries")

    @initialize()
    def open_store(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        shutil.copytree(_migrated(), self.folder.name, dirs_exist_ok=True)
        database = sqlite_database(Path(self.folder.name))
        self.opened = recording_on(database.relay, Path(self.folder.name))
        self.recording: Recording = self.opened.__enter__()
        self.expected: dict[tuple[uuid.UUID, int], State] = {}
        self.duplicates: dict[tuple[uuid.UUID, int], int] = {}
        self.marked: set[tuple[uuid.UUID, int]] = set()

    @rule(target=deliveries, state=ACCEPTED_AS)
    def accept(self, state: State) -> tuple[uuid.UUID, int]:
        recorded = self.recording.accept(State.HELD, state)
        identity = recorded.decided.inspected.received.id
        self.expected[identity, 0] = State.HELD
        self.expected[identity, 1] = state
        self.duplicates[identity, 0] = self.duplicates[identity, 1] = 0
        return identity, 1

    @rule(delivery=deliveries, new=st.sampled_from(list(State)))
    def move(self, delivery: tuple[uuid.UUID, int], new: State) -> None:
        now_us = self.recording.clock.now_us()
        entry = QueueEntry("out", "ab" * 32, "open", now_us, now_us + LEASE_US) if new in QUEUED else None
        old = self.expected[delivery]
        allowed = may_move(old, new) or (old is new and new in QUEUED)
        try:
            found = self.recording.write(lambda connection: states.move(connection, *delivery, new, now_us, entry))
        except MoveRefused:
            assert not allowed
            return
        assert allowed
        assert found is old
        self.expected[delivery] = new
        if delivery in self.marked:  # its attempt will have no outcome any more
            self.marked.remove(delivery)
            self.duplicates[delivery] += 1

    @rule(mark=st.booleans())
    def claim(self, mark: bool) -> None:
        self.recording.clock.forward(LEASE_US + 1)
        now_us = self.recording.clock.now_us()
        for claimed in self.recording.claim():
            for ticket in claimed.tickets:
                key = (claimed.message.id, ticket.ordinal)
                if key in self.marked:
                    self.marked.remove(key)
                    self.duplicates[key] += 1
                assert ticket.interrupted == (self.duplicates[key] > 0)
                if mark:
                    self.marked.add(key)
            if mark:
                self.recording.write(partial(queue.mark, claimed=claimed, now_us=now_us))
            self.stale = claimed

    @rule()
    def a_stale_claim_can_write_nothing(self) -> None:
        stale = getattr(self, "stale", None)
        if stale is None:
            return
        self.recording.clock.forward(LEASE_US + 1)
        try:
            self.recording.write(lambda connection: queue.mark(connection, stale, self.recording.clock.now_us()))
        except LeaseLost:
            return
        raise AssertionError("a mark under a lease that ran out")

    @invariant()
    def what_was_accepted_is_accounted_for(self) -> None:
        if not hasattr(self, "recording"):
            return
        found = self.recording.reader.read_now(states.balance)
        assert found.holds, found
        assert found.accepted == sum(state is not State.REFUSED for state in self.expected.values())
        rows = {(row["message_id"], row["ordinal"]): row for row in self.recording.rows("delivery")}
        assert {key: State(row["state"]) for key, row in rows.items()} == self.expected
        assert {key: row["possible_duplicates"] for key, row in rows.items()} == self.duplicates
        queued = {(row["message_id"], row["ordinal"]) for row in self.recording.rows("queue")}
        assert queued == {key for key, state in self.expected.items() if state in QUEUED}

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.__exit__(None, None, None)
            self.folder.cleanup()


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=25, stateful_step_count=25)
