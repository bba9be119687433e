"""Reads beside the writer: of one moment, and only reads."""

import uuid

import pytest
from sqlalchemy import Connection, Engine, insert, select

from relay.model.delivery import State
from relay.model.errors import StoreError
from relay.store import rollouts, states
from relay.store.tables import Counter
from tests.servers.recording import Recording

COUNTER = Counter.__table__  # type: ignore[attr-defined]


def test_a_read_sees_one_moment_however_many_queries_it_has(recording: Recording) -> None:
    def read(connection: Connection) -> list[int]:
        first = len(connection.execute(select(states.DELIVERY)).all())
        recording.accept(State.READY, State.HELD)
        return [first, len(connection.execute(select(states.DELIVERY)).all()), states.balance(connection).accepted]

    assert recording.reader.read_now(read) == [0, 0, 0]
    assert recording.reader.read_now(read) == [2, 2, 2]


def test_the_balance_holds_while_mail_is_accepted_between_its_queries(recording: Recording) -> None:
    def read(connection: Connection) -> bool:
        connection.execute(select(states.TALLY)).all()
        recording.accept(State.READY, State.QUARANTINED)
        return states.balance(connection).holds

    assert recording.reader.read_now(read)
    assert recording.reader.read_now(states.balance).accepted == 2


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_read_cannot_write(recording: Recording) -> None:
    with pytest.raises(StoreError, match="read"):
        recording.reader.read_now(
            lambda connection: connection.execute(insert(COUNTER).values(scope="a", key="b", window_us=0, count=1)).rowcount
        )


def test_what_a_read_wrote_is_rolled_back(recording: Recording, engine: Engine, dialect: str) -> None:
    def write(connection: Connection) -> int:
        return int(connection.execute(insert(COUNTER).values(scope="a", key="b", window_us=0, count=1)).rowcount)

    if dialect == "sqlite":
        assert recording.reader.read_now(write) == 1
    else:
        with pytest.raises(StoreError):
            recording.reader.read_now(write)
    with engine.connect() as connection:
        assert connection.execute(select(COUNTER)).all() == []


def test_a_recount_in_pages_holds_while_mail_comes_in_and_goes_between_them(recording: Recording) -> None:
    """A false alarm would pull the brake."""
    for _ in range(7):
        recording.accept(State.READY, State.HELD, State.HELD)
    pages = []

    def meanwhile(seconds: float) -> None:
        pages.append(seconds)
        recording.accept(State.READY, State.HELD)
        moved = recording.rows("delivery")[len(pages)]
        entry = states.QueueEntry("", "ab" * 32, "open", 1, 2)
        now_us = recording.clock.now_us()
        if moved["state"] == State.HELD.value:
            recording.write(
                lambda connection: states.move(connection, moved["message_id"], moved["ordinal"], State.UNDECIDED, now_us, entry)
            )

    found = recording.reader.read_now(lambda connection: states.balance(connection, rest=meanwhile, page=3))
    assert found.holds, found
    assert found.accepted == 21
    assert len(pages) > 3
    assert recording.reader.read_now(states.balance).accepted == 21 + 2 * len(pages)


def test_json_that_orjson_refuses_is_read_all_the_same(engine: Engine) -> None:
    """Half a surrogate pair, that an older program wrote."""
    row = {"digest": "", "origin": "folder", "author": "", "reason": "", "asked_us": 0, "tests": {}, "tested": {}}
    with engine.begin() as connection:
        rollouts.add(connection, id=uuid.uuid4(), **row)
        connection.exec_driver_sql("""UPDATE policy_rollout SET tests = '{"a": "\\ud800"}'""")
        assert connection.execute(select(rollouts.ROLLOUT.c.tests)).scalar_one() == {"a": "\ud800"}
