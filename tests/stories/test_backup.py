"""Backup while mail flows, restore on a new machine: nothing that heard 250 before is gone, and what may come twice is named."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.servers.database import sqlite_database
from tests.servers.postgres import Cluster
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import House, Reply, house, message
from tests.stories.test_went_back import let_go

GREYLISTED = {"RCPT": "450 4.2.0 greylisted"}


@pytest.fixture
def second_store(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Empty, for the new machine."""
    if dialect == "sqlite":
        yield sqlite_database(tmp_path / "second").relay
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    database = cluster.new_database(migrated=True)
    yield database.relay
    cluster.drop(database)


async def flow(sluis: House, heard: list[Reply], stop: asyncio.Event) -> None:
    """Mail, one after the other, until somebody says stop."""
    while not stop.is_set():
        heard.append(await sluis.send(message(f"Number {len(heard)}")))


def bring_keys(old: House, new: House) -> None:
    """They are no part of a backup."""
    shutil.rmtree(new.folder / "keys")
    shutil.copytree(old.folder / "keys", new.folder / "keys")


def test_nothing_that_heard_250_before_a_backup_is_gone_on_the_machine_where_it_is_restored(
    tmp_path: Path, database: Store, second_store: Store
) -> None:
    async def story() -> None:
        behaviour = Behaviour()
        (tmp_path / "old").mkdir()
        (tmp_path / "new").mkdir()
        target = str(tmp_path / "backups")
        async with (
            Sink(behaviour) as sink,
            house(tmp_path / "old", database, outside=sink.port) as old,
            house(tmp_path / "new", second_store, outside=sink.port, started=False) as new,
        ):
            heard: list[Reply] = []
            stop = asyncio.Event()
            mail = asyncio.create_task(flow(old, heard, stop))
            while len(heard) < 5:
                await asyncio.sleep(0.01)
            behaviour.replies.update(GREYLISTED)  # from here on everything waits
            waiting_from = len(heard) + 1
            while len(heard) < waiting_from + 5:
                await asyncio.sleep(0.01)
            before = list(heard)
            made = (await old.sluis("store", "backup", target, "--reason", "nightly", "--json")).json
            assert made["missing"] == []
            behaviour.replies.clear()
            during = len(heard)
            while len(heard) < during + 3:
                await asyncio.sleep(0.01)
            stop.set()
            await mail
            for reply in heard:
                await old.until_states(reply, "delivered")
            await old.stop()  # the machine is lost: its queue was empty, and the backup does not know

            bring_keys(old, new)
            said = (await new.sluis("store", "restore", target, "--reason", "the disk died", "--json")).json
            assert said["restored"]
            await new.start()
            assert "restored from the backup" in (await new.sluis("brake", "show", "--json")).json["reason"]
            known = {row.message_id for row in new.rows()}
            assert {reply.id for reply in before} <= known, "what heard 250 before the backup is in it"
            left = len(sink.messages)
            after = await new.send(message("After"))
            await new.until_states(after, "held")
            assert len(sink.messages) == left, "nothing leaves until a person has looked"

            await let_go(new)
            for reply in (*before, after):
                await new.until_states(reply, "delivered")
            count = Counter(found.raw.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode() for found in sink.messages)
            subject = {reply.id: f"Number {number}" for number, reply in enumerate(heard)}
            for reply in heard:
                assert count[subject[reply.id]] >= 1
            named = {row.message_id for row in new.rows() if row.possible_duplicates}
            twice = {reply.id for reply in heard if count[subject[reply.id]] > 1}
            assert twice, "the story is about these"
            assert twice <= named, "what came twice is named"
            assert {event["result"] for event in await new.events("restored")} == {"done"}
            check = await new.sluis("store", "check", "--bodies", "--json")
            assert check.json["ok"]

    asyncio.run(story())
