"""What every test may use.

`database`: settings (`relay.settings.models.Store`) of a migrated store that no other test uses. A test that takes it runs twice, on SQLite
and on PostgreSQL as a role that owns nothing. `new_database` gives the same store as a `Database`, with the owner's settings too;
`empty_database` one that is not migrated yet. For one dialect only: `@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)`.
`engine` is the store opened, `recording` the real record over it, `copies` puts it back as it was at an earlier moment.

The PostgreSQL cluster is started when the first test asks for it, one for each pytest process.

With `-n auto` there are three workers for two cores, and what takes longest is begun first (see below).

Every property test runs under one profile of hypothesis: an example takes as long as it takes, and a find in CI can be repeated.

Beside that: no test connects to anything but this machine; and what a test records as the property `told`, a title and a text, stands at
the end of the run whether it passed or failed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine

from relay.settings.models import ObjectStore, Store
from relay.store.engine import open_engine
from tests.servers import s3, warm
from tests.servers.copies import Copies
from tests.servers.database import Database, sqlite_database
from tests.servers.loopback import only_loopback
from tests.servers.postgres import Cluster, running
from tests.servers.recording import Recording, recording_on
from tests.servers.s3 import Ceph

DIALECTS = ["sqlite", "postgresql"]
LONGEST = ("bench", "faults", "stories", "deploy", "properties", "fuzz")
"""Folders of tests, in the order in which they are begun; all others behind them."""
# Hundreds of relays and commands are started: without its cache each would compile the whole program anew, a third of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# What is too slow is said by benchmarks: a machine that does something else for a moment has not found an error. Not in a fixture, because
# `@settings` takes what it does not say itself from the profile of the moment in which it is read.
hypothesis_settings.register_profile("sluis", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
hypothesis_settings.load_profile("sluis")


def pytest_xdist_auto_num_workers() -> int:
    """A story waits for its relay, a timer or a disk during a quarter of its time: another worker uses what is free then."""
    return (os.cpu_count() or 1) * 3 // 2


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest is begun first, so that no worker is left with it at the end. Within a folder the order stays random."""
    items.sort(key=lambda item: _place(item.path.relative_to(Path(__file__).parent).parts[0]))


def _place(folder: str) -> int:
    return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The PostgreSQL cluster of this process."""
    with running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """The object store of this process."""
    with s3.running() as server:
        yield server


@pytest.fixture
def bucket(ceph: Ceph, tmp_path: Path) -> ObjectStore:
    """Settings of an empty bucket."""
    return ceph.new_bucket(tmp_path)


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """`sqlite` or `postgresql`."""
    return str(request.param)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, to copy."""
    folder = tmp_path_factory.mktemp("sqlite-template")
    sqlite_database(folder).upgrade()
    return folder / "store"


@contextmanager
def _fresh(dialect: str, request: pytest.FixtureRequest, folder: Path, *, migrated: bool) -> Iterator[Database]:
    if dialect == "sqlite":
        if migrated:
            shutil.copytree(request.getfixturevalue("sqlite_template"), folder / "store")
        yield sqlite_database(folder)
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    database = cluster.new_database(migrated=migrated)
    try:
        yield database
    finally:
        cluster.drop(database)


@pytest.fixture
def new_database(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated store, with the settings of both roles."""
    with _fresh(dialect, request, tmp_path, migrated=True) as database:
        yield database


@pytest.fixture
def empty_database(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A store without tables, with the settings of both roles."""
    with _fresh(dialect, request, tmp_path, migrated=False) as database:
        yield database


@pytest.fixture
def database(new_database: Database) -> Store:
    """Settings of a migrated store, as the relay uses it."""
    return new_database.relay


@pytest.fixture
def engine(database: Store) -> Iterator[Engine]:
    """The store, opened as the relay does."""
    engine = open_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def owner(new_database: Database) -> Iterator[Engine]:
    """The same store, opened as the owner of its tables does."""
    engine = new_database.owner_engine()
    yield engine
    engine.dispose()


@pytest.fixture
def copies(new_database: Database, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Copies]:
    """The store as it was, to be put back."""
    found = Copies(new_database, lambda: request.getfixturevalue("cluster"), tmp_path)
    yield found
    found.close()


@pytest.fixture
def recording(database: Store, tmp_path: Path) -> Iterator[Recording]:
    """Journal, spool and record over the store."""
    with recording_on(database, tmp_path) as recording:
        yield recording


@pytest.fixture(scope="session", autouse=True)
def started_warm() -> Iterator[None]:
    """Relays and commands are forked from a process that has loaded them."""
    with warm.switched_on():
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_leaves_this_machine() -> Iterator[None]:
    """What a test swallows is told at the end."""
    with only_loopback() as tried:
        yield
    assert tried == [], f"tests left this machine: {tried}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Properties come from the processes of xdist, too, and pytest shows nothing that a passed test has printed."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "told":
                title, text = value
                terminalreporter.section(title)
                terminalreporter.write_line(text)
