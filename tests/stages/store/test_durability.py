"""A PostgreSQL whose `committed` can't be believed is refused: at the start, at each new connection, and under open ones."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Engine, text

from relay.cli.check import command as check
from relay.model.errors import StoreError
from relay.settings.models import Store
from relay.store.durability import AGAIN_SECONDS, Unconfirmed, doubts, problem
from relay.store.engine import check_durability, open_engine
from relay.store.journal import Journal
from tests.servers.database import Database
from tests.servers.postgres import RELAY
from tests.servers.standby import Server, server

WRITE = text("INSERT INTO control (name, value, epoch) VALUES ('test', '{}', 0)")
WELL = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "synchronous_standby_names": "",
    "transaction_read_only": "off",
}


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    """A server of these tests' own: they change its settings."""
    with server() as primary:
        yield primary


@pytest.fixture
def database_there(primary: Server) -> Iterator[Database]:
    database = primary.new_database(migrated=True)
    yield database
    primary.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()", f"ALTER ROLE {RELAY} RESET ALL")
    primary.drop(database)


@contextmanager
def opened(store: Store, standby: str = "none") -> Iterator[Engine]:
    engine = open_engine(store.model_copy(update={"standby": standby}))
    try:
        yield engine
    finally:
        engine.dispose()


def use_for_a_while(engine: Engine) -> None:
    """A connection is asked again after a second, and a server process reads its settings again when it is next asked."""
    until = time.monotonic() + 5 * AGAIN_SECONDS
    while time.monotonic() < until:
        check_durability(engine)
        time.sleep(AGAIN_SECONDS / 10)


@pytest.mark.parametrize(
    ("changed", "standby", "expected"),
    [
        ({}, "none", None),
        ({"synchronous_commit": "local"}, "none", None),  # without a standby it is the same as on
        ({"fsync": "off"}, "none", "fsync = off"),
        ({"full_page_writes": "off"}, "none", "full_page_writes = off"),
        ({"synchronous_commit": "off"}, "none", "synchronous_commit = off"),
        ({"transaction_read_only": "on"}, "none", "read-only"),
        ({"synchronous_standby_names": "*", "synchronous_commit": "local"}, "none", "synchronous_commit = local"),
        ({"synchronous_standby_names": "*", "synchronous_commit": "remote_write"}, "none", "synchronous_commit = remote_write"),
        ({"synchronous_standby_names": "*"}, "none", None),
        ({}, "synchronous", "synchronous_standby_names is empty"),
        ({"synchronous_standby_names": "*", "synchronous_commit": "remote_write"}, "synchronous", "synchronous_commit = remote_write"),
        ({"synchronous_standby_names": "*"}, "synchronous", None),
        ({"synchronous_standby_names": "*", "synchronous_commit": "remote_apply"}, "synchronous", None),
    ],
)
def test_what_a_server_must_do_for_its_commits_to_be_believed(changed: dict[str, str], standby: str, expected: str | None) -> None:
    found = problem(in_recovery=False, settings={**WELL, **changed}, standby=standby)
    assert (found is None) if expected is None else (found is not None and expected in found)


@pytest.mark.parametrize("scope", ["ROLE {role}", "DATABASE {name}", "ROLE {role} IN DATABASE {name}"])
def test_a_role_or_database_whose_commits_do_not_wait_is_refused(primary: Server, database_there: Database, scope: str) -> None:
    name = database_there.relay.url.partition("?")[0].rpartition("/")[2]
    primary.execute(f"ALTER {scope.format(role=RELAY, name=name)} SET synchronous_commit = off")
    with opened(database_there.relay) as engine, pytest.raises(StoreError, match="synchronous_commit = off"):
        check_durability(engine)


def test_a_role_that_may_only_read_is_refused(primary: Server, database_there: Database) -> None:
    primary.execute(f"ALTER ROLE {RELAY} SET default_transaction_read_only = on")
    with opened(database_there.relay) as engine, pytest.raises(StoreError, match="read-only for this role"):
        check_durability(engine)


def test_without_a_synchronous_standby_a_store_that_may_fail_over_is_refused(database_there: Database) -> None:
    with opened(database_there.relay, "synchronous") as engine, pytest.raises(StoreError, match="synchronous_standby_names is empty"):
        check_durability(engine)


def test_a_connection_that_is_open_is_refused_when_the_server_stops_waiting_for_its_standby(
    primary: Server, database_there: Database
) -> None:
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    with opened(database_there.relay, "synchronous") as engine:
        check_durability(engine)
        primary.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        primary.until("SHOW synchronous_standby_names", "")
        with pytest.raises(StoreError, match="synchronous_standby_names is empty"):
            use_for_a_while(engine)
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        primary.until("SHOW synchronous_standby_names", "*")
        check_durability(engine)


def test_a_commit_that_did_not_wait_for_its_standby_is_not_believed_and_not_made_twice(primary: Server, database_there: Database) -> None:
    with opened(database_there.relay) as engine:
        journal = Journal(engine)
        journal.start()
        try:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
            primary.until("SHOW synchronous_standby_names", "nobody")
            runs = []

            def work(connection: Connection) -> None:
                runs.append(connection)
                connection.execute(WRITE)

            with ThreadPoolExecutor(1) as thread:
                waiting = thread.submit(journal.submit_now, work)
                primary.until("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", 1)
                primary.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                with pytest.raises(Unconfirmed, match="did not wait for its standby"):
                    waiting.result(20)
            assert len(runs) == 1
            primary.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
            primary.until("SHOW synchronous_standby_names", "")
            assert journal.submit_now(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1
        finally:
            journal.close()


def test_a_standby_is_refused_and_one_that_nobody_waits_for_is_told(primary: Server, database_there: Database, tmp_path: Path) -> None:
    with opened(database_there.relay) as engine, engine.connect() as connection:
        assert doubts(connection, "none") == []
    with primary.standby() as standby:
        there = Store(
            url=database_there.relay.url.replace(str(primary.sockets), str(standby.sockets)).replace(str(primary.port), str(standby.port))
        )
        with opened(there) as engine, pytest.raises(StoreError, match="is a standby, and takes no commits"):
            check_durability(engine)
        with opened(database_there.relay) as engine, engine.connect() as connection:
            (doubt,) = doubts(connection, "none")
            assert "1 follows this PostgreSQL without its commits waiting" in doubt
        (tmp_path / "sluis.toml").write_text(f'hostname = "relay.example.org"\n[store]\nurl = "{database_there.relay.url}"\n')
        said = json.loads(CliRunner().invoke(check, ["--config", str(tmp_path / "sluis.toml"), "--json"]).output)
        assert f"store: {doubt}" in said["warnings"]
        primary.follow_synchronously()
        with opened(database_there.relay, "synchronous") as engine, engine.connect() as connection:
            assert doubts(connection, "synchronous") == []
            connection.execute(WRITE)
            connection.commit()
