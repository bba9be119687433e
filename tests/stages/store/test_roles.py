"""On PostgreSQL, what listens has a role that can take mail in and nothing else: even with its password no decision can be changed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import SQLModel

from relay.model.delivery import State
from relay.model.reply import Reply
from relay.phases import state as phase_state
from relay.store import schema, states
from relay.store.counters import Counters
from relay.store.engine import check_durability, open_engine
from tests.fakes.custody import PEER
from tests.servers.database import Database
from tests.servers.recording import SECOND, Recording, recording_on

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)

HOUR_US = 3600 * SECOND


@pytest.fixture
def listening(new_database: Database, tmp_path: Path) -> Iterator[Recording]:
    """The record as the role that listens reaches it."""
    with recording_on(new_database.listen, tmp_path) as recording:
        yield recording


def test_a_message_is_accepted_and_the_other_role_delivers_it(listening: Recording, new_database: Database, tmp_path: Path) -> None:
    listening.accept(State.READY, State.READY, State.QUARANTINED)
    with recording_on(new_database.relay, tmp_path) as relay:
        [event] = relay.rows("event")
        assert event["kind"] == "accepted"
        assert {row["state"] for row in relay.rows("delivery")} == {"ready", "quarantined"}
        assert sum(len(claimed.tickets) for claimed in relay.claim()) == 2


def test_messages_and_commands_are_refused_and_the_refusal_is_told(listening: Recording, new_database: Database, tmp_path: Path) -> None:
    reply = Reply(550, 7, 1, "No")
    asyncio.run(listening.record.refuse(listening.decided((State.REFUSED,)), reply, "no"))
    asyncio.run(listening.record.refusal(PEER, None, None, reply, "no"))
    asyncio.run(listening.record.operation("start", object_="relay", result="started", origin="process", actor="a", reason="b"))
    with recording_on(new_database.relay, tmp_path) as relay:
        assert [row["kind"] for row in relay.rows("event")] == ["refused", "refused", "start"]


def test_rates_are_counted_and_forgotten(listening: Recording) -> None:
    async def count() -> list[bool]:
        counters = Counters(listening.journal)
        taken = [await counters.take("client", "exchange", HOUR_US, 2, 1, HOUR_US) for _ in range(3)]
        await counters.flush(10 * HOUR_US)
        return taken

    assert asyncio.run(count()) == [True, True, False]


def test_what_a_start_and_the_balance_look_at_can_be_seen(listening: Recording) -> None:
    listening.accept()
    schema.check_schema(listening.engine)
    check_durability(listening.engine)
    assert listening.reader.read_now(phase_state.read).brake is False
    assert listening.reader.read_now(states.balance).holds


CHANGES = [
    "UPDATE message SET authorised = true",
    "UPDATE delivery SET state = 'ready'",
    "UPDATE queue SET next_us = 0",
    "DELETE FROM queue",
    "INSERT INTO request (id) VALUES (gen_random_uuid())",
    "INSERT INTO approval (request_id) VALUES (gen_random_uuid())",
    "INSERT INTO control (name, value, epoch) VALUES ('brake', '{}', 1)",
    "UPDATE control SET epoch = epoch + 1",
    "INSERT INTO policy_version (digest, files, first_us) VALUES ('x', '{}', 1)",
    "UPDATE policy_version SET files = '{}'",
    "UPDATE event SET kind = 'x'",
    "DELETE FROM event",
    "TRUNCATE event",
    "UPDATE event_record SET canonical = '', salt = ''",
    "DROP TRIGGER event_no_delete ON event",
    "INSERT INTO event_default (id) VALUES (gen_random_uuid())",
    "CREATE TABLE mine (id int)",
]
READS = [
    "SELECT * FROM message",
    "SELECT recipient FROM delivery",
    "SELECT * FROM queue",
    "SELECT * FROM event",
    "SELECT canonical FROM event_record",
    "SELECT * FROM request",
]


@pytest.mark.parametrize("statement", CHANGES + READS)
def test_nothing_else_can_be_changed_or_read(statement: str, listening: Recording) -> None:
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), listening.engine.begin() as connection:
        connection.execute(text(statement))


def test_the_rights_are_just_these_whatever_the_role_had_before(new_database: Database) -> None:
    owner = new_database.owner_engine()
    with owner.begin() as connection:
        connection.execute(text("GRANT ALL ON request, control, event TO sluis_listen"))
        connection.execute(text("GRANT UPDATE (state), SELECT (recipient) ON delivery TO sluis_listen"))
    owner.dispose()
    before = privileges(new_database)
    new_database.upgrade()
    after = privileges(new_database)
    assert {"request", "control", "event"} <= {table for table, _ in before - after}
    assert ("delivery", "UPDATE") not in after
    assert {table for table, kind in after if kind == "UPDATE"} == {"counter", "tally"}


def privileges(database: Database) -> set[tuple[str, str]]:
    """Table and kind of each right of the role that listens, those on single columns too."""
    engine = open_engine(database.listen)
    query = text(
        "SELECT kind FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS kind WHERE has_any_column_privilege(:table, kind)"
        " UNION SELECT kind FROM unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER']) AS kind WHERE has_table_privilege(:table, kind)"
    )
    with engine.connect() as connection:
        found = {(table, kind) for table in SQLModel.metadata.tables for (kind,) in connection.execute(query, {"table": table})}
    engine.dispose()
    return found
