"""An upgrade takes what is there along: domains are filled in, the balance holds, and what is made anew has every row of before."""

import uuid
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, delete, insert, select, text
from sqlalchemy.exc import DBAPIError

from relay.model.delivery import State
from relay.store import schema, states
from relay.store.reader import Reader
from relay.store.tables import Event, Queue, Tally
from tests.servers.database import Database

TABLES: dict[str, Any] = {model.__tablename__: model.__table__ for model in (Queue, Event, Tally)}  # type: ignore[union-attr]
ADDRESSES = {'"a@b"@ours.example': "ours.example", "jan@ours.example": "ours.example", "": "", "postmaster": ""}


def upgrade_to(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if engine.dialect.name == "postgresql":
            schema.make_partitions(connection)


def test_a_store_of_before_the_counts_by_state_is_taken_along(empty_database: Database) -> None:
    engine = empty_database.owner_engine()
    upgrade_to(engine, "0002")
    message = (
        "INSERT INTO message VALUES (:id, 1, 'outbound', 'c', '{}', :sender, '{}', '<1>', 1, '', '', NULL, "
        "true, true, '{}', 'p', 'open', '250', 'x', 1)"
    )
    delivery = (
        "INSERT INTO delivery VALUES (:id, :ordinal, :recipient, '{}', :state, 'deliver', '[]', '', NULL, 'p', 'open', 0, 0, NULL, NULL, 1)"
    )
    wanted = [State.READY, State.HELD, State.DELIVERED, State.REFUSED]
    with engine.begin() as connection:
        for number, (address, state) in enumerate(zip(ADDRESSES, wanted, strict=True)):
            identity = uuid.UUID(int=number).hex
            connection.execute(text(message), {"id": identity, "sender": address})
            connection.execute(text(delivery), {"id": identity, "ordinal": 0, "recipient": address, "state": state.value})
        counts = {"accepted": 3, "waiting": 2, "delivered": 1}
        for name, count in counts.items():
            connection.execute(text("INSERT INTO tally VALUES (:name, '1', :count)"), {"name": name, "count": count})
    empty_database.upgrade()
    reader = Reader(engine)
    found = reader.read_now(states.balance)
    assert found.holds, found
    assert {state: number for state, number in found.counted.items() if number} == dict.fromkeys(wanted, 1)
    with engine.connect() as connection:
        for table, column in (("message", "sender"), ("delivery", "recipient")):
            rows = connection.execute(text(f"SELECT {column} AS address, {column}_domain AS domain FROM {table}"))
            assert {row.address: row.domain for row in rows} == ADDRESSES
    reader.close()
    engine.dispose()


def test_queue_events_and_counts_of_before_are_taken_along_and_events_stay_append_only(empty_database: Database) -> None:
    engine = empty_database.owner_engine()
    upgrade_to(engine, "0003")
    rows: dict[str, list[dict[str, Any]]] = {
        "queue": [
            {"message_id": uuid.UUID(int=1), "ordinal": number, "route": "r", "policy": "p", "phase": "open", "next_us": 2**41 - number}
            | {
                "expires_us": 3,
                "attempts": 1,
                "owner": None,
                "lease_until_us": number,
                "fence": 7,
                "marked_fence": None,
                "delay_notified": True,
            }
            for number in range(3)
        ],
        "event": [{"id": uuid.UUID(int=number), "kind": "brake", "commitment": bytes([number]) * 32} for number in range(4)],
        "tally": [{"name": name, "shard": "5", "count": -3} for name in ("accepted", "ready")],
    }
    with engine.begin() as connection:
        for name, there in rows.items():
            connection.execute(insert(TABLES[name]), there)
    empty_database.upgrade()
    schema.check_version(engine)
    with engine.connect() as connection:
        for name, there in rows.items():
            key = TABLES[name].primary_key.columns
            assert [dict(row._mapping) for row in connection.execute(select(TABLES[name]).order_by(*key))] == there
        if engine.dialect.name == "sqlite":
            names = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'index'")).scalars())
            assert {"ix_queue_next", "ix_event_kind"} <= names
    with engine.begin() as connection, pytest.raises(DBAPIError, match="append-only"):
        connection.execute(delete(TABLES["event"]))
    engine.dispose()
