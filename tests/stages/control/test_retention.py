"""What is no longer kept is erased; what waits and what somebody marked is not; and the audit and the balance still hold."""

import asyncio
import datetime
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import OperationalError

from relay.audit import old_months
from relay.audit.retention import read_ahead
from relay.control.retention import DAY_US, LEAST, Retention
from relay.model.delivery import WAITING, State
from relay.model.errors import SpoolUnavailable
from relay.model.ids import new_id
from relay.model.ports import SystemClock
from relay.settings.models import Retention as RetentionSettings
from relay.settings.models import Store
from relay.store import states
from relay.store.engine import open_engine
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.tables import Event, Message
from tests.servers.database import Database
from tests.stages.control.desk import Desk, desk
from tests.stories.house import until

RAW = b"Subject: x\r\n\r\ntext\r\n"
MESSAGE = Message.__table__  # type: ignore[attr-defined]
EVENT = Event.__table__  # type: ignore[attr-defined]
YEARS = RetentionSettings(body_days=30, record_days=365)
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


@dataclass
class Later:
    """A clock that is ahead."""

    days: int

    def now_us(self) -> int:
        return SystemClock().now_us() + self.days * DAY_US


async def no_pause(_: float) -> None:
    """Nobody has to be spared here."""


def retention(at: Desk, days: int, settings: RetentionSettings = YEARS, **values: Any) -> Retention:
    """As it will be in so many days."""
    services = at.services
    who = ("relay", "process", "its time is over")
    values = {"pause": no_pause, **values}
    return Retention(services.journal, services.reader, services.spool, Later(days), settings, who, **values)


def bodies(at: Desk) -> set[Any]:
    """Of which messages."""
    query = select(MESSAGE.c.id).where(MESSAGE.c.spool_object.is_not(None))
    return set(at.reader.read_now(lambda connection: connection.execute(query).scalars().all()))


def messages(at: Desk) -> set[Any]:
    """All that there are."""
    return set(at.reader.read_now(lambda connection: connection.execute(select(MESSAGE.c.id)).scalars().all()))


@asynccontextmanager
async def as_owner(database: Database) -> AsyncIterator[tuple[Journal, Reader]]:
    """The store as the owner of its tables reaches it."""
    engine = open_engine(database.owner)
    journal, reader = Journal(engine), Reader(engine)
    journal.start()
    try:
        yield journal, reader
    finally:
        journal.close()
        reader.close()
        engine.dispose()


def test_a_body_goes_when_its_time_is_over_and_its_record_stays(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            done = await at.keep(RAW, State.DELIVERED, State.BOUNCED)
            name = at.reader.read_now(lambda connection: connection.execute(select(MESSAGE.c.spool_object)).scalar_one())
            assert not await retention(at, 29).run()
            assert bodies(at) == {done}
            assert dict(await retention(at, 31).run()) == {"bodies": 1}
            assert messages(at) == {done}
            assert bodies(at) == set()
            with pytest.raises(SpoolUnavailable):
                at.services.spool.open(name)
            (event,) = at.events("retention")
            assert (event["actor"], event["details"]["bodies"]) == ("relay", 1)

    asyncio.run(story())


@pytest.mark.parametrize("state", sorted(WAITING))
def test_what_waits_for_anything_stays_whatever_its_age(state: State, tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            waiting = await at.keep(RAW, State.DELIVERED, state)
            await retention(at, 4000).run()
            assert bodies(at) == messages(at) == {waiting}
            assert at.events("retention") == []

    asyncio.run(story())


def test_what_was_done_late_is_kept_as_long_as_the_rest(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            late = await at.keep(RAW, State.DELIVERED)
            changed = Later(20).now_us()
            at.write(lambda connection: connection.execute(states.DELIVERY.update().values(changed_us=changed)))
            await retention(at, 45).run()
            assert bodies(at) == {late}
            await retention(at, 51).run()
            assert bodies(at) == set()

    asyncio.run(story())


def test_what_somebody_said_to_keep_stays_until_that_is_taken_back(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            kept = await at.keep(RAW, State.DELIVERED)
            await at.ask("anna", "message.keep", id=kept.hex, reason="case 17")
            assert await at.refused("anna", "message.keep", id=kept.hex, reason="case 17") == "it is kept already"
            assert not await retention(at, 4000).run()
            shown = await at.ask("anna", "message.show", id=kept.hex, reason="case 17")
            assert shown["message"]["kept"]["reason"] == "case 17"
            await at.ask("bert", "message.unkeep", id=kept.hex, reason="the case is closed")
            assert [event["actor"] for event in at.events("message-kept", "message-unkept")] == ["unix:anna (1000)", "unix:bert (1000)"]
            assert await at.refused("bert", "message.unkeep", id=kept.hex, reason="x") == "it is not kept"
            assert (await retention(at, 4000).run())["bodies"] == 1

    asyncio.run(story())


@on_sqlite
def test_a_record_goes_with_all_that_events_say_and_the_audit_and_the_balance_hold(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            old = await at.keep(RAW, State.DELIVERED, State.BOUNCED, State.REFUSED)
            waiting = await at.keep(RAW, State.DELIVERED, State.HELD)
            for identity in (old, waiting):
                await at.ask("anna", "message.show", id=identity.hex, reason="a look")
            before = at.reader.read_now(lambda connection: connection.execute(select(EVENT.c.id, EVENT.c.commitment)).all())
            counts = await retention(at, 400).run()
            assert dict(counts) == {"bodies": 1, "messages": 1, "recipients": 3, "records": 1}
            assert messages(at) == {waiting}
            after = at.reader.read_now(lambda connection: connection.execute(select(EVENT.c.id, EVENT.c.commitment)).all())
            assert after[: len(before)] == before, "ids and commitments stay"
            checked = await at.ask("auditor", "audit.check")
            assert (checked["erased"], checked["broken"]) == (1, [])
            balance = at.reader.read_now(states.balance)
            assert balance.holds
            assert (balance.accepted, balance.erased) == (4, 2), "who was refused never was accepted"
            assert (await retention(at, 400).run())["messages"] == 0, "each is erased once"

    asyncio.run(story())


@on_sqlite
def test_it_pauses_after_a_commit_while_there_is_mail_and_not_on_an_idle_relay(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            pauses: list[float] = []

            async def pause(seconds: float) -> None:
                pauses.append(seconds)

            over = asyncio.Event()

            async def mail() -> None:
                while not over.is_set():
                    await at.services.journal.submit(lambda connection: None)

            for _ in range(2 * LEAST):
                at.put(State.DELIVERED)
            assert (await retention(at, 400, pause=pause).run())["messages"] == 2 * LEAST
            assert pauses == []
            for _ in range(2 * LEAST):
                at.put(State.DELIVERED)
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(mail())
                counts = await retention(at, 400, pause=pause).run()
                over.set()
            assert counts["messages"] == 2 * LEAST
            assert pauses
            pauses.clear()
            await at.keep(RAW, State.DELIVERED)
            assert await retention(at, 400, pause=pause, own_journal=True).run()
            assert pauses, "whose journal carries no mail can't know"

    asyncio.run(story())


@on_sqlite
def test_before_a_commit_every_index_is_read_that_erasing_changes(engine: Engine) -> None:
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, _many: bool) -> None:
        cursor = connection.connection.cursor()
        plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", explain)
        read_ahead(connection, [new_id(), new_id()])
    changed = {index.name for table in (MESSAGE, states.DELIVERY) for index in table.indexes} - {
        "ix_message_body",
        "ix_delivery_duplicates",
    }
    found = " ".join(plans)
    assert {name for name in changed if f"SEARCH found USING COVERING INDEX {name} (" in found} == changed
    assert not [plan for plan in plans if plan.startswith("SCAN")]


@on_sqlite
def test_events_of_no_message_are_erased_and_each_is_looked_at_once(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            for _ in range(450):
                await at.ask("anna", "queue.list")
            assert (await retention(at, 300).run())["records"] == 0
            assert (await retention(at, 400).run())["records"] == 450
            assert (await retention(at, 400).run())["records"] == 1, "the event of the run before"
            assert (await at.ask("auditor", "audit.check"))["erased"] == 451

    asyncio.run(story())


@on_postgresql
def test_on_postgresql_the_relay_erases_bodies_and_only_the_owner_records(tmp_path: Path, new_database: Database) -> None:
    async def story() -> None:
        async with desk(tmp_path, new_database.relay) as at, as_owner(new_database) as (journal, reader):
            old = await at.keep(RAW, State.DELIVERED)
            owner = Retention(journal, reader, None, Later(400), YEARS, ("owner", "command line", "a year"), pause=no_pause)
            assert not await owner.run(), "bodies go first"
            assert dict(await retention(at, 400).run()) == {"bodies": 1}
            assert messages(at) == {old}
            assert (await owner.run())["messages"] == 1
            assert messages(at) == set()
            assert [event["actor"] for event in at.events("retention")][-1] == "owner"

    asyncio.run(story())


@on_postgresql
def test_a_month_of_which_all_may_go_is_dropped_and_one_with_mail_that_waits_is_not(tmp_path: Path, new_database: Database) -> None:
    async def story() -> None:
        async with desk(tmp_path, new_database.relay) as at, as_owner(new_database) as (journal, reader):
            old = await at.keep(RAW, State.DELIVERED, State.REFUSED)
            waiting = at.put(State.HELD)
            await at.ask("anna", "message.show", id=old.hex, reason="a look")
            await retention(at, 400).run()
            before_us = Later(400).now_us() - 365 * DAY_US
            assert _month(old) not in reader.read_now(lambda connection: old_months.due_months(connection, before_us))
            await at.ask("anna", "queue.delete", filters={"ids": [waiting.hex]}, reason="the end of a test")
            owner = Retention(journal, reader, None, Later(800), YEARS, ("owner", "command line", "a year"), may_drop=True, pause=no_pause)
            await retention(at, 800).run()
            counts = await owner.run()
            assert counts["months"] > 0
            assert (counts["messages"], counts["recipients"]) == (2, 3)
            assert messages(at) == set()
            balance = at.reader.read_now(states.balance)
            assert balance.holds
            assert (balance.accepted, balance.erased) == (2, 2)
            with reader._engine.connect() as connection:
                names = set(connection.execute(text("SELECT relid::regclass::text FROM pg_partition_tree('message')")).scalars())
            assert f"message_{_month(old)}" not in names

    asyncio.run(story())


@on_postgresql
def test_mail_goes_on_while_the_drop_of_a_month_waits_for_somebody_who_looks_at_it(tmp_path: Path, new_database: Database) -> None:
    async def story() -> None:
        async with desk(tmp_path, new_database.relay) as at:
            month = _month(await at.keep(RAW, State.DELIVERED))
            await retention(at, 400).run()
            engine = new_database.owner_engine()
            with engine.connect() as looking, ThreadPoolExecutor(1) as threads:
                looking.execute(text("SET idle_in_transaction_session_timeout = 0"))  # it looks on, however long the tries take
                looking.execute(text(f"SELECT count(*) FROM delivery_{month}"))
                await until(lambda: mail_went_on(engine, threads, month), "mail that is written while the drop waits")
                looking.rollback()
                with engine.begin() as owner:
                    assert old_months.drop_month(owner, month, BEFORE_US) == {"messages": 1, "recipients": 1}
            engine.dispose()
            assert at.reader.read_now(states.balance).holds

    asyncio.run(story())


BEFORE_US = Later(800).now_us() - 365 * DAY_US


def mail_went_on(engine: Engine, threads: ThreadPoolExecutor, month: str) -> bool:
    """Tries to drop the month, which gives up soon, and takes meanwhile what mail takes to write. False where the drop gave up before."""

    def drop() -> None:
        with engine.begin() as owner:
            old_months.drop_month(owner, month, BEFORE_US)

    dropping = threads.submit(drop)
    with engine.connect() as mail, engine.connect().execution_options(isolation_level="AUTOCOMMIT") as look:
        while not dropping.done() and not look.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar():
            pass
        mail.execute(text("SET LOCAL lock_timeout = '50ms'"))
        mail.execute(text("LOCK TABLE ONLY message, ONLY delivery IN ROW EXCLUSIVE MODE"))
        waited_for_nobody = not dropping.done()
        mail.rollback()
    with pytest.raises(OperationalError):
        dropping.result()
    return waited_for_nobody


def _month(identity: uuid.UUID) -> str:
    """In which a message came in, by its identifier (RFC 9562 §5.7)."""
    return f"{datetime.datetime.fromtimestamp((identity.int >> 80) / 1000, datetime.UTC):%Y_%m}"


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_command_asks_piece_by_piece_and_a_dry_run_changes_nothing(dry_run: bool, tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            refused = await at.refused("anna", "store.retention", reason="tidy")
            assert "the settings keep everything" in refused
            await at.keep(RAW, State.DELIVERED)
            at.services = replace(at.services, settings=at.settings.model_copy(update={"retention": YEARS}), clock=Later(400))
            answer = await at.ask("anna", "store.retention", dry_run=dry_run, reason="tidy")
            assert answer["counts"]["bodies"] == 1
            assert answer["next"] is None
            assert answer["owner_needed"] is (at.engine.dialect.name == "postgresql")
            assert len(bodies(at)) == int(dry_run)
            assert len(at.events("retention")) == int(not dry_run)
            assert "position" in await at.refused("anna", "store.retention", position=["nowhere", None], reason="tidy")

    asyncio.run(story())
