"""What the driver runs without SQLAlchemy: the same values, and the same errors, on both databases."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, bindparam, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from relay.store.hot import Hot
from relay.store.tables import Control, Request

CONTROL = Control.__table__  # type: ignore[attr-defined]
REQUEST = Request.__table__  # type: ignore[attr-defined]
ADD = Hot(insert(CONTROL))


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """In a transaction that is not kept."""
    with engine.connect() as connection:
        connection.begin()
        yield connection


def row(name: str, epoch: int = 1) -> dict[str, Any]:
    return {"name": name, "value": {"on": True, "why": "é"}, "epoch": epoch}


def test_what_it_writes_is_what_sqlalchemy_reads(connection: Connection) -> None:
    asked: dict[str, Any] = {"id": uuid.uuid4(), "kind": "x", "message_id": None, "details": {"a": [1, None, "100 %"]}}
    asked |= {"actor": "a", "reason": "100 %", "asked_us": 2**60, "state": "open"}
    assert Hot(insert(REQUEST)).run(connection, [asked]) == 1
    assert dict(connection.execute(select(REQUEST).where(REQUEST.c.id == asked["id"])).one()._mapping) == asked


def test_it_counts_the_rows_of_all_its_rows(connection: Connection) -> None:
    assert ADD.run(connection, [row("one"), row("two"), row("three")]) == 3
    change = Hot(update(CONTROL).where(CONTROL.c.name == bindparam("of_name")).values(epoch=bindparam("to")))
    assert change.run(connection, [{"of_name": name, "to": 2} for name in ("one", "nobody", "two")]) == 2


def test_it_gives_the_first_row_for_each_in_their_order(connection: Connection) -> None:
    ADD.run(connection, [row("one", 1), row("two", 2)])
    returning = Hot(update(CONTROL).where(CONTROL.c.name == bindparam("of_name")).values(epoch=CONTROL.c.epoch).returning(CONTROL.c.epoch))
    assert returning.each(connection, [{"of_name": name} for name in ("two", "nobody", "one")]) == [(2,), None, (1,)]


def test_what_the_database_refuses_is_an_error_of_sqlalchemy(connection: Connection) -> None:
    with pytest.raises(IntegrityError):
        ADD.run(connection, [row("one"), row("one")])


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_connection_that_is_ended_under_it_is_lost(connection: Connection, engine: Engine) -> None:
    number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with engine.connect() as other:
        assert other.execute(text("SELECT pg_terminate_backend(:number, 5000)"), {"number": number}).scalar_one()
    with pytest.raises(DBAPIError) as caught:
        ADD.run(connection, [row("one")])
    assert caught.value.connection_invalidated
    assert connection.invalidated


def test_a_value_that_no_row_gives_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="epoch"):
        Hot(update(CONTROL).values(epoch=CONTROL.c.epoch + 1)).run(connection, [{}])
