"""An upgrade takes what is there along: domains are filled in, and the balance holds afterwards."""

import uuid

from alembic import command
from sqlalchemy import Engine, text

from relay.model.delivery import State
from relay.store import schema, states
from relay.store.reader import Reader
from tests.servers.database import Database

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
