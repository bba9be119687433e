"""A wrong key, a damaged or missing store: the relay refuses to start, or waits, and says why; nothing is altered, nothing is dropped."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from relay.store.engine import sqlite_path
from relay.store.spool.keys import new_keypair
from tests.servers.postgres import Cluster
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import House, house, message, until

LATER = {"MAIL": "451 4.3.0 Later"}
SQLITE_HEADER = 100
"""Octets before the first page's own (SQLite documentation, File Format)."""


async def refused(sluis: House, *says: str) -> None:
    """It does not start, and says so in a line."""
    said = await sluis.sluis("serve")
    assert said.code == 1
    assert "Traceback" not in said.err
    for text in says:
        assert text in said.err


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_relay_without_the_private_key_of_its_spool_does_not_start(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, started=False) as sluis:
            keys = sluis.folder / "keys"
            identity = new_keypair(keys / "spool.pub", tmp_path / "elsewhere").hex()
            await refused(sluis, f"the private key {identity}", "is missing")

    asyncio.run(story())


def test_mail_under_a_key_that_is_not_here_waits_and_leaves_when_the_key_is_back(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        behaviour = Behaviour(replies=dict(LATER))
        async with Sink(behaviour) as sink, house(tmp_path, database, outside=sink.port) as sluis:
            reply = await sluis.send(message())
            await sluis.until_states(reply, "ready")
            await sluis.stop()
            keys = sluis.folder / "keys"
            (old,) = (keys / "spool").glob("*.key")
            away = tmp_path / old.name
            old.rename(away)
            new_keypair(keys / "spool.pub", keys / "spool")
            behaviour.replies.clear()

            await sluis.start()
            await until(lambda: '"spool-unavailable"' in sluis.log(), lambda: f"an alert: {sluis.log()[-2000:]}")
            await until(lambda: f"no private key {old.stem} here" in sluis.log(), "the key that is missed")
            assert sluis.states(reply.id) == ["ready"]
            await sluis.until_states(await sluis.send(message("Under the new key")), "delivered")
            assert len(sink.messages) == 1
            away.rename(old)
            await sluis.reload()
            said = await sluis.sluis("queue", "retry", reply.id.hex, "--reason", "the key is back")
            assert said.code == 0, said.err
            await sluis.until_states(reply, "delivered")

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("harm", ["header", "first page", "cut short"])
def test_a_damaged_sqlite_store_is_refused(tmp_path: Path, database: Store, harm: str) -> None:
    async def story() -> None:
        async with house(tmp_path, database, started=False) as sluis:
            path = sqlite_path(database)
            assert path is not None
            whole = path.read_bytes()
            start, end = {"header": (0, 16), "first page": (SQLITE_HEADER, 4096), "cut short": (len(whole) // 3, len(whole))}[harm]
            path.write_bytes(whole[:start] + (b"" if harm == "cut short" else b"\xa5" * (end - start) + whole[end:]))
            await refused(sluis, "the store can't be opened")
            path.write_bytes(whole)

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_database_that_takes_no_connections_is_refused_at_the_start(tmp_path: Path, database: Store, cluster: Cluster) -> None:
    async def story() -> None:
        name = database.url.partition("?")[0].rpartition("/")[2]
        async with house(tmp_path, database, started=False) as sluis:
            cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await refused(sluis, "the store can't be opened", "not currently accepting connections")
            cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_database_whose_commits_could_be_lost_is_refused_at_the_start(tmp_path: Path, database: Store, cluster: Cluster) -> None:
    async def story() -> None:
        name = database.url.partition("?")[0].rpartition("/")[2]
        role = database.url.partition("//")[2].partition("@")[0]
        async with house(tmp_path, database, started=False, settings={"store": {"standby": "synchronous"}}) as sluis:
            await refused(sluis, "store.standby is synchronous, and synchronous_standby_names is empty")
            cluster.execute(f"ALTER ROLE {role} IN DATABASE {name} SET synchronous_commit = off")
            await refused(sluis, "PostgreSQL runs with synchronous_commit = off")
            cluster.execute(f"ALTER ROLE {role} IN DATABASE {name} RESET synchronous_commit")

    asyncio.run(story())
