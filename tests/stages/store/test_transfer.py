"""A copy of every table into an empty store: whole, proved, and resumed only from the same source."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text, update

from relay.model.delivery import State
from relay.model.errors import StoreError
from relay.settings.models import Store
from relay.store import schema, transfer
from relay.store.reader import Reader
from relay.store.states import balance
from relay.store.tables import Counter, Delivery
from tests.servers.database import sqlite_database
from tests.servers.recording import Recording, recording_on

COUNTER = Counter.__table__  # type: ignore[attr-defined]


def silent(_what: str, _done: int, _total: int) -> None:
    return


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Recording]:
    """SQLite, with a bit of everything; keys that databases sort in different ways."""
    database = sqlite_database(tmp_path / "source")
    database.upgrade()
    with recording_on(database.relay, tmp_path / "source") as recording:
        recording.accept(State.READY, State.HELD)
        recording.accept(State.QUARANTINED)
        asyncio.run(recording.record.operation("start", object_="relay", result="é", origin="o", actor="a", reason="ÀÞ \U0001f600"))
        keys = ["a", "B", "b", "A", "_", "é", "Z"]
        recording.write(
            lambda c: c.execute(insert(COUNTER), [{"scope": "s", "key": key, "window_us": 2**53 + 1, "count": 1} for key in keys])
        )
        yield recording


def carry(source: Engine, target: Engine, what: str = "migration") -> dict[str, transfer.Contents]:
    with transfer.one_moment(source) as found:
        transfer.begin(found, target, what)
        transfer.copy(found, target, silent)
        with transfer.one_moment(target) as copied:
            contents = transfer.compare(found, copied, silent)
    with target.begin() as connection:
        transfer.finish(connection)
    return contents


def test_all_rows_arrive_in_a_store_of_any_kind(source: Recording, engine: Engine, database: Store, tmp_path: Path) -> None:
    contents = carry(source.engine, engine)
    assert (contents["message"].rows, contents["delivery"].rows, contents["counter"].rows) == (2, 3, 7)
    schema.check_schema(engine)
    reader = Reader(engine)
    assert reader.read_now(balance).holds
    reader.close()
    with recording_on(database, tmp_path / "source") as there:
        for table in ("message", "delivery", "queue", "event", "event_record"):
            assert there.rows(table) == source.rows(table)
        assert [claimed.message.digest for claimed in there.claim()] == [source.rows("message")[0]["digest"]]


def test_a_copy_can_be_copied_again(source: Recording, engine: Engine, tmp_path: Path) -> None:
    carry(source.engine, engine)
    third = sqlite_database(tmp_path / "third")
    third.upgrade()
    back = third.engine()
    carry(engine, back, "restore")
    back.dispose()


def test_a_store_that_is_half_there_is_used_by_nobody_until_the_same_copy_was_finished(source: Recording, engine: Engine) -> None:
    class Enough(Exception):
        pass

    def power_cut(what: str, done: int, _total: int) -> None:
        if what == "event" and done:
            raise Enough

    with transfer.one_moment(source.engine) as found:
        assert not transfer.begin(found, engine, "migration")
        with pytest.raises(Enough):
            transfer.copy(found, engine, power_cut)
    with pytest.raises(StoreError, match="its migration was interrupted"):
        schema.check_schema(engine)
    with transfer.one_moment(source.engine) as found:
        assert transfer.begin(found, engine, "migration")
    carry(source.engine, engine)
    schema.check_schema(engine)


def test_a_source_that_was_used_since_is_another_source(source: Recording, engine: Engine) -> None:
    with transfer.one_moment(source.engine) as found:
        transfer.begin(found, engine, "migration")
        transfer.copy(found, engine, silent)
    source.accept()
    with transfer.one_moment(source.engine) as found, pytest.raises(StoreError, match="empty the target first"):
        transfer.begin(found, engine, "migration")


def test_a_target_that_holds_anything_is_not_touched(source: Recording, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(COUNTER).values(scope="s", key="k", window_us=1, count=1))
    with transfer.one_moment(source.engine) as found, pytest.raises(StoreError, match="not empty: it has rows in counter"):
        transfer.begin(found, engine, "migration")


def test_a_finished_copy_is_not_begun_again(source: Recording, engine: Engine) -> None:
    carry(source.engine, engine)
    with transfer.one_moment(source.engine) as found, pytest.raises(StoreError, match="finished before"):
        transfer.begin(found, engine, "migration")


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "harm", ["UPDATE delivery SET because = 'other' WHERE ordinal = 1", "DELETE FROM counter WHERE key = 'B'", "DELETE FROM queue"]
)
def test_a_row_that_differs_is_found(source: Recording, engine: Engine, harm: str) -> None:
    with transfer.one_moment(source.engine) as found:
        transfer.begin(found, engine, "migration")
        transfer.copy(found, engine, silent)
        with engine.begin() as connection:
            connection.execute(text(harm))
        with (
            transfer.one_moment(engine) as copied,
            pytest.raises(StoreError, match=f"not the same: {harm.split()[1 if harm[0] == 'U' else 2]} "),
        ):
            transfer.compare(found, copied, silent)


def test_pages_of_a_large_table_leave_nothing_out(source: Recording, engine: Engine) -> None:
    table = Delivery.__table__  # type: ignore[attr-defined]
    with source.engine.begin() as connection:
        first = dict(connection.execute(select(table)).first()._mapping)  # type: ignore[union-attr]
        connection.execute(insert(table), [{**first, "ordinal": number} for number in range(10, 10 + 2 * transfer.PAGE)])
        connection.execute(update(table).values(because="many"))
    assert carry(source.engine, engine)["delivery"].rows == 2 * transfer.PAGE + 3
