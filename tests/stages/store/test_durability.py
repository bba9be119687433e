"""A PostgreSQL whose `committed` can't be believed is refused: at the start, at each new connection, and under open ones."""

import json
import subprocess
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
from relay.store.durability import AGAIN_SECONDS, Unconfirmed, check_standby, problem
from relay.store.engine import check_durability, open_engine
from relay.store.journal import Journal
from relay.store.lineage import everybody_waits
from tests.servers.database import Database
from tests.servers.postgres import BINARIES, RELAY
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
    for _ in range(50):
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


def checked(store: Store, folder: Path, standby: str) -> dict[str, list[str]]:
    """What `sluis check` says of the store, as problems and warnings."""
    settings = f'hostname = "relay.example.org"\n[store]\nurl = "{store.url}"\nstandby = "{standby}"\n'
    (folder / "sluis.toml").write_text(settings)
    said = json.loads(CliRunner().invoke(check, ["--config", str(folder / "sluis.toml"), "--json"]).output)
    return {kind: [text for text in said[kind] if text.startswith("store: ")] for kind in ("problems", "warnings")}


def test_a_standby_takes_no_mail_and_what_one_is_for_that_nobody_waits_for_has_to_be_said(
    primary: Server, database_there: Database, tmp_path: Path
) -> None:
    store = database_there.relay
    assert checked(store, tmp_path, "none") == {"problems": [], "warnings": []}
    with primary.standby() as standby:
        there = Store(url=store.url.replace(str(primary.sockets), str(standby.sockets)).replace(str(primary.port), str(standby.port)))
        with opened(there) as engine, pytest.raises(StoreError, match="is a standby, and takes no commits"):
            check_durability(engine)
        follows = "1 follows this PostgreSQL without its commits waiting"
        with opened(store) as engine, pytest.raises(StoreError, match=follows):
            check_standby(engine, "none")
        said = checked(store, tmp_path, "none")
        assert (len(said["problems"]), follows in said["problems"][0], said["warnings"]) == (1, True, [])
        said = checked(store, tmp_path, "asynchronous")
        assert (said["problems"], len(said["warnings"]), follows in said["warnings"][0]) == ([], 1, True)
        primary.follow_synchronously()
        for choice in ("none", "synchronous", "asynchronous"):
            assert checked(store, tmp_path, choice) == {"problems": [], "warnings": []}
        with opened(store, "synchronous") as engine, engine.connect() as connection:
            connection.execute(WRITE)
            connection.commit()


def test_who_only_archives_the_log_is_no_standby(primary: Server, database_there: Database, tmp_path: Path) -> None:
    with following(primary, "pg_receivewal", tmp_path / "wal"), opened(database_there.relay) as engine:
        check_standby(engine, "none")


@contextmanager
def following(primary: Server, program: str, folder: Path) -> Iterator[None]:
    """A program of PostgreSQL that takes its log."""
    folder.mkdir()
    words: list[str | Path] = [
        BINARIES / program,
        "-h",
        primary.sockets,
        "-p",
        str(primary.port),
        "-U",
        primary.superuser,
        "-D",
        folder,
        "--no-password",
    ]
    process = subprocess.Popen(words)
    try:
        primary.until("SELECT count(*) FROM pg_stat_replication", 1)
        yield
    finally:
        process.terminate()
        process.wait()
        primary.until("SELECT count(*) FROM pg_stat_replication", 0)


@pytest.mark.parametrize(
    ("names", "followers", "expected"),
    [
        ("", 0, False),
        ("", 1, False),
        ("one", 0, True),
        ("one", 1, True),
        ("one", 2, False),  # the other has what it happens to have
        ('"a, name"', 1, True),
        ("*", 1, True),
        ("*", 2, False),
        ("one, two", 2, False),  # FIRST 1
        ("one, two", 1, False),  # the other may come back and be promoted
        ("FIRST 2 (one, two)", 2, True),
        ("2 (one, two)", 2, True),
        ("any 2 (one, two)", 2, True),
        ("ANY 1 (one, two)", 2, False),
        ("ANY 2 (*)", 2, True),
        ("ANY 2 (*)", 3, False),
    ],
)
def test_loss_is_ruled_out_where_a_commit_waits_for_everybody_who_may_be_promoted(names: str, followers: int, *, expected: bool) -> None:
    assert everybody_waits(names, followers) is expected
