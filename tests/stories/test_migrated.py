"""A relay moves from SQLite to PostgreSQL with mail in custody: it leaves once, from the new place."""

import asyncio
import shutil
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.servers.database import sqlite_database
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import house, message

HOLD = "rules:\n  - {name: pass, then: deliver, because: ordinary mail}\n  - {name: look, when: {recipient: [judge@court.example]}, then: "
HOLD += "quarantine, because: somebody looks first}\n"


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_mail_in_custody_leaves_once_from_the_new_place(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        behaviour = Behaviour(replies={"RCPT": "450 4.2.0 greylisted"})
        for name in ("old", "new"):
            (tmp_path / name).mkdir()
        first = sqlite_database(tmp_path / "old")
        first.upgrade()
        async with (
            Sink(behaviour) as sink,
            house(tmp_path / "old", first.relay, outside=sink.port, policy={"rules/pass.yaml": HOLD}) as old,
            house(tmp_path / "new", database, outside=sink.port, policy={"rules/pass.yaml": HOLD}, started=False) as new,
        ):
            shutil.rmtree(new.folder / "keys")
            shutil.copytree(old.folder / "keys", new.folder / "keys")
            waits = await old.send(message("Waits"))
            looked_at = await old.send(message("Looked at"), to=["judge@court.example"])
            await old.until_states(looked_at, "quarantined")
            await old.stop()
            said = (await old.sluis("store", "migrate", "--to", str(new.config), "--reason", "it grows", "--json")).json
            assert said["bodies"] == 2
            behaviour.replies.clear()

            await old.start()  # somebody forgot
            assert "is being moved" in (await old.sluis("brake", "show", "--json")).json["reason"]
            await old.stop()
            assert sink.messages == []
            await new.start()
            await new.until_states(waits, "delivered")
            assert (await new.sluis("quarantine", "release", looked_at.id.hex, "--reason", "seen")).code == 0
            await new.until_states(looked_at, "delivered")
            assert len(sink.messages) == 2
            assert not (await new.sluis("brake", "show", "--json")).json["brake"]
            assert '"store-behind"' not in new.log()
            assert (await new.sluis("store", "check", "--bodies", "--json")).json["ok"]

    asyncio.run(story())
