"""Two machines: `old` has mail (`filled`), `new` has an empty store of the same kind. A command whose relay is down reads `policies`."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.model.delivery import State
from relay.model.reply import Reply
from tests.servers.database import Database, sqlite_database
from tests.servers.postgres import Cluster
from tests.servers.recording import Recording, recording_on
from tests.stages.cli.machine import Machine


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "organisation.yaml").write_text(
        "name: X\ndomains: [example.nl]\nauthserv_id: relay.example.nl\npostmaster: p@example.nl\nphases: [open]\npartners: []\n"
    )
    (folder / "clients.yaml").write_text("clients: []\n")
    (folder / "routes.yaml").write_text("routes: []\n")
    return folder


@pytest.fixture
def old(new_database: Database, tmp_path: Path, policies: Path) -> Machine:
    return Machine(tmp_path, new_database, policies)


@pytest.fixture
def filled(old: Machine) -> Iterator[Recording]:
    """The relay of the old machine, with some mail."""
    with recording_on(old.database.relay, old.folder) as recording:
        recording.accept(State.READY, State.HELD)
        recording.accept(State.QUARANTINED, content=b"Subject: large\r\n\r\n" + b"x" * 200_000)
        asyncio.run(recording.record.refuse(recording.decided((State.REFUSED,)), Reply(550, 7, 1, "No"), "no"))
        yield recording


@pytest.fixture
def new(dialect: str, request: pytest.FixtureRequest, tmp_path: Path, policies: Path) -> Iterator[Machine]:
    """A machine with the keys of the old one and an empty store of the same kind."""
    folder = tmp_path / "new"
    folder.mkdir()
    cluster: Cluster | None = None
    if dialect == "postgresql":
        cluster = request.getfixturevalue("cluster")
        database = cluster.new_database(migrated=True)
    else:
        database = sqlite_database(folder)
    machine = Machine(folder, database, policies)
    yield machine
    if cluster is not None:
        cluster.drop(database)
