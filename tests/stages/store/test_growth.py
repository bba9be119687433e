"""A store that grows: lists, searches and what the relay does by itself look at no more rows for it, each by the index meant for it."""

import datetime
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert, select, text, update

from relay.control.operations import audit
from relay.control.operations.message import identity_of, journey_of
from relay.model.decision import Epoch
from relay.model.delivery import WAITING, State
from relay.phases import held
from relay.store import queue, schema, states
from relay.store.along import NEWEST_DAYS, along
from relay.store.search import Search, page
from relay.store.tables import Delivery, Event, EventRecord, Message

TABLES: dict[str, Any] = {model.__tablename__: model.__table__ for model in (Message, Delivery, Event, EventRecord)}  # type: ignore[union-attr]
DELIVERY = TABLES["delivery"]
START_MS = 1_700_000_000_000
FEW, MANY = 5000, 15_000
"""Messages: more than any query may look at, and three times as many."""
EPOCH = Epoch("p", "open")


def identity(number: int, bits: int = 0) -> uuid.UUID:
    """A UUIDv7 of a time that rises with the number."""
    return uuid.UUID(int=START_MS + number * 1000 << 80 | 7 << 76 | 2 << 62 | bits << 40 | number)


SPREAD = 4800
"""Messages over two years, some two hundred a month."""
MONTHS = 25


def over_two_years(number: int, bits: int = 0) -> uuid.UUID:
    """The same, until now."""
    milliseconds = time.time_ns() // 1_000_000 - (SPREAD - number) * 730 * 86_400_000 // SPREAD
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | bits << 40 | number)


def state_of(number: int, size: int) -> State:
    """The newer half is held; what nobody would come upon soon came in first."""
    if number < 2:
        return State.UNDELIVERABLE if number else State.QUARANTINED
    return State.HELD if number > size // 2 else State.DELIVERED


def fill(engine: Engine, size: int, identity: Callable[..., uuid.UUID] = identity) -> None:
    """`size` messages, each with a recipient and an event; half of them of one sender."""
    plain: dict[str, Any] = {
        "received_us": 0,
        "direction": "outbound",
        "peer": {},
        "envelope": {},
        "size": 1,
        "digest": "",
        "body_hash": "",
    }
    plain |= {"vouched": True, "authorised": True, "policy": "p", "phase": "open", "reply": "250", "recipients": 1}
    plain |= {"inspection": {"header": {"subject": "x"}, "findings": []}, "sender_domain": "ours.example"}
    messages, deliveries, events, records = [], [], [], []
    for number in range(size):
        key, state = identity(number), state_of(number, size)
        own = {"id": key, "sender": f"s{number % 2}@ours.example", "header_message_id": f"<{number}@x>", "commitment": f"{number:064x}"}
        messages.append({**plain, **own, "client": "rare" if number == 5 else "mailserver"})
        own = {"message_id": key, "recipient": f"r{number}@d{number % 7}.example", "recipient_domain": f"d{number % 7}.example"}
        own |= {"state": state.value, "disposition": "hold" if state is State.HELD else "deliver"}
        deliveries.append({**own, "ordinal": 0, "envelope": {}, "rules": [], "policy": "p", "phase": "open", "changed_us": 0})
        told = identity(number, 1)
        events.append({"id": told, "kind": "phase" if number == 9 else "accepted", "commitment": b"x"})
        records.append({"event_id": told, "message_id": key, "canonical": b"{}", "salt": b"x"})
    with engine.begin() as connection:
        for name, rows in (("message", messages), ("delivery", deliveries), ("event", events), ("event_record", records)):
            connection.execute(insert(TABLES[name]), rows)


def found(search: Search) -> Callable[[Connection], int]:
    """How many rows its first page has."""
    return lambda connection: len(page(connection, search, None, 101).rows)


def listed(**asked: Any) -> Callable[[Connection], int]:
    """How many events the first page has."""
    return lambda connection: len(audit._page(connection, audit.Listing(reason="x", **asked))[0])


def oldest(connection: Connection) -> int:
    """As the metrics do."""
    queries = [along(connection, DELIVERY.c.state, state.value, DELIVERY.c.message_id).limit(1) for state in sorted(WAITING)]
    return sum(connection.execute(query).first() is not None for query in queries)


def journey(connection: Connection) -> int:
    """By the commitment of the 250."""
    return len(journey_of(connection, identity_of(connection, f"{7:064x}"))["deliveries"])


QUEUE_LIST = (State.READY, State.UNDECIDED, State.HELD, State.UNDELIVERABLE)
LOOKS: dict[str, tuple[Callable[[Connection], int], int]] = {
    "queue list": (found(Search(states=QUEUE_LIST)), 101),
    "queue list --state undeliverable": (found(Search(states=(State.UNDELIVERABLE,))), 1),
    "queue list --sender": (found(Search(states=QUEUE_LIST, sender="s1@ours.example")), 101),
    "quarantine list": (found(Search(states=(State.QUARANTINED,))), 1),
    "message find": (found(Search()), 101),
    "--sender": (found(Search(sender="s1@ours.example")), 101),
    "--sender, none": (found(Search(sender="nobody@ours.example")), 0),
    "--sender @domain": (found(Search(sender="@ours.example")), 101),
    "--sender @domain, none": (found(Search(sender="@nowhere.example")), 0),
    "--recipient": (found(Search(recipient="r77@d0.example")), 1),
    "--recipient @domain, none": (found(Search(recipient="@nowhere.example")), 0),
    "--sender --recipient": (found(Search(sender="s1@ours.example", recipient="r77@d0.example")), 1),
    "--client": (found(Search(client="rare")), 1),
    "--message-id": (found(Search(message_id="<77@x>")), 1),
    "--until": (found(Search(until_us=(START_MS + 1_000_000) * 1000)), 101),
    "message show": (journey, 1),
    "audit list": (listed(), 100),
    "audit list --newest": (listed(newest=True), 100),
    "audit list --kind phase": (listed(kinds=["phase"]), 1),
    "audit list --kind brake": (listed(kinds=["brake"]), 0),
    "audit list --message": (listed(message=identity(7).hex), 1),
    "the ages in the metrics": (oldest, 3),
    "the running counts": (lambda connection: len(states.running(connection).counted), len(State)),
    "held of another epoch": (lambda connection: len(held.stale(connection, EPOCH, None)[0]), 0),
    "whether there is room": (lambda connection: int(held.crowded(connection, 500)), 0),
    "whether anything is due": (lambda connection: int(queue.is_due(connection, 0)), 0),
}


def work(engine: Engine) -> dict[str, int]:
    """Instructions of SQLite's virtual machine for each look, in hundreds; each must find what it should."""
    used: dict[str, int] = {}
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        for name, (look, expected) in LOOKS.items():
            count = 0

            def step() -> int:
                nonlocal count
                count += 1
                return 0

            driver.set_progress_handler(step, 100)
            assert look(connection) == expected, name
            driver.set_progress_handler(None, 0)
            used[name] = count
    return used


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_no_list_and_no_search_works_more_in_a_store_three_times_as_large(engine: Engine) -> None:
    fill(engine, FEW)
    before = work(engine)
    with engine.begin() as connection:
        for trigger in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        for table in TABLES.values():
            connection.execute(table.delete())
    fill(engine, MANY)
    after = work(engine)
    grown = {name: (before[name], after[name]) for name in LOOKS if after[name] > 1.3 * before[name] + 20}
    assert grown == {}


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_what_another_epoch_held_is_looked_for_in_the_months_of_a_page_and_only_that_is_fetched(engine: Engine, owner: Engine) -> None:
    """A thousand that are as they should be come to us neither as rows nor, asked for again, as values."""
    with owner.begin() as connection:
        schema.make_partitions(connection, MONTHS)
    fill(engine, SPREAD, over_two_years)
    statements: list[tuple[str, Any]] = []
    fetched: list[int] = []
    event.listen(engine, "before_cursor_execute", lambda _1, _2, statement, parameters, _3, _4: statements.append((statement, parameters)))
    event.listen(engine, "after_cursor_execute", lambda _1, cursor, _2, _3, _4, _5: fetched.append(cursor.rowcount))
    with engine.connect() as connection:
        found, after = held.stale(connection, EPOCH, None, limit=200)
        assert found == []
        statements.clear()
        fetched.clear()
        found, _ = held.stale(connection, EPOCH, after, limit=200)
        assert found == []
        assert fetched == [1, 0]
        for statement, parameters in statements:
            assert len(parameters) < 20, statement
            cursor: Any = connection.connection.cursor()
            cursor.execute(f"EXPLAIN {statement}", parameters)
            months = set(re.findall(r"\bon delivery_(\d{4}_\d{2})\b", " ".join(line for (line,) in cursor)))
            assert 0 < len(months) <= 4, statement


def test_all_that_another_epoch_held_is_found_and_by_pages(engine: Engine) -> None:
    fill(engine, 60)
    with engine.begin() as connection:
        everything = connection.execute(
            select(DELIVERY.c.message_id).where(DELIVERY.c.state == State.HELD.value).order_by(DELIVERY.c.message_id)
        ).scalars()
        wanted = list(everything)
        connection.execute(update(DELIVERY).where(DELIVERY.c.message_id == wanted[3]).values(disposition="staff-hold"))
        connection.execute(update(DELIVERY).where(DELIVERY.c.message_id == wanted[4]).values(policy="another"))
        for epoch, expected in ((EPOCH, [wanted[4]]), (Epoch("p", "closed"), [one for one in wanted if one != wanted[3]])):
            found, after, pages = [], None, 0
            while pages == 0 or after is not None:
                keys, after = held.stale(connection, epoch, after, limit=10)
                found += [key for key, _ in keys]
                pages += 1
            assert found == expected
            assert pages == len(wanted) // 10 + 1


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_postgresql_compiles_nothing_however_dear_it_looks(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SET jit_above_cost = 0"))
        plan = connection.execute(text("EXPLAIN (ANALYZE) SELECT count(*) FROM delivery WHERE attempts > 0")).scalars().all()
        assert [line for line in plan if "JIT" in line] == []


FREQUENT = ("queue list", "queue list --sender", "message find", "--sender", "--sender @domain")


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_first_page_that_the_newest_months_fill_plans_no_month_before_them(engine: Engine, owner: Engine) -> None:
    with owner.begin() as connection:
        schema.make_partitions(connection, MONTHS)
    fill(engine, SPREAD, over_two_years)
    statements: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda _1, _2, statement, parameters, _3, _4: statements.append((statement, parameters)))
    oldest = f"{datetime.datetime.now(datetime.UTC) - datetime.timedelta(NEWEST_DAYS + 1):%Y_%m}"
    for name in FREQUENT:
        look, expected = LOOKS[name]
        with engine.connect() as connection:
            statements.clear()
            assert look(connection) == expected, name
            months: set[str] = set()
            for statement, parameters in list(statements):
                cursor: Any = connection.connection.cursor()
                cursor.execute(f"EXPLAIN {statement}", parameters)
                months.update(re.findall(r"(?:message|delivery)_(\d{4}_\d{2})\b", " ".join(line for (line,) in cursor)))
        assert months, name
        assert min(months) >= oldest, name


def pages_of(connection: Connection, search: Search) -> list[uuid.UUID]:
    """All that a search finds, page by page."""
    rows, after = [], None
    while True:
        found = page(connection, search, after, 50, seconds=0.01)
        rows += [row.message_id for row in found.rows]
        after = found.next
        if after is None:
            return rows


def test_pages_reach_over_all_months_newest_first_and_a_clock_that_was_ahead(engine: Engine, owner: Engine) -> None:
    if engine.dialect.name == "postgresql":
        with owner.begin() as connection:
            schema.make_partitions(connection, MONTHS)
    fill(engine, 480, lambda number, bits=0: over_two_years(10 * number + (SPREAD // 24 if number > 470 else 0), bits))
    with engine.connect() as connection:
        everything = connection.execute(select(TABLES["message"].c.id).order_by(TABLES["message"].c.id.desc())).scalars().all()
        held_ones = [one for one, number in zip(everything, reversed(range(480)), strict=True) if number > 240]
        assert pages_of(connection, Search()) == everything
        assert pages_of(connection, Search(states=QUEUE_LIST)) == [*held_ones, everything[-2]]
        assert pages_of(connection, Search(sender="s1@ours.example")) == everything[::2]
        assert pages_of(connection, Search(recipient="r7@d0.example")) == [everything[-8]]
        assert pages_of(connection, Search(sender="nobody@ours.example")) == []


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_on_postgresql_no_list_and_no_search_reads_a_whole_table(engine: Engine, owner: Engine) -> None:
    fill(engine, MANY)
    with owner.begin() as connection:
        connection.execute(text("ANALYZE"))
    statements: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda _1, _2, statement, parameters, _3, _4: statements.append((statement, parameters)))
    whole = {}
    for name, (look, expected) in LOOKS.items():
        with engine.connect() as connection:
            statements.clear()
            assert look(connection) == expected, name
            for statement, parameters in list(statements):
                cursor: Any = connection.connection.cursor()
                cursor.execute(f"EXPLAIN {statement}", parameters)
                plan = "\n".join(line for (line,) in cursor)
                if any(f"Seq Scan on {table}_default" in plan for table in TABLES):
                    whole[name] = f"{statement}\n{plan}"
    assert whole == {}, "\n\n".join(f"{name}: {plan}" for name, plan in whole.items())
