"""A relay moves from SQLite and a folder to PostgreSQL and another folder or an object store: mail in custody leaves once."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from relay.settings.models import Store
from tests.servers.database import sqlite_database
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import house, message, with_attachment
from tests.stories.test_object_store import spool_in

LARGE = os.urandom(3 * 1024 * 1024)
HOLD = "rules:\n  - {name: pass, then: deliver, because: ordinary mail}\n  - {name: look, when: {recipient: [judge@court.example]}, then: "
HOLD += "quarantine, because: somebody looks first}\n"


PLACES = ["a folder", "an object store"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_mail_in_custody_leaves_once_from_the_new_place(
    tmp_path: Path, database: Store, request: pytest.FixtureRequest, place: str
) -> None:
    settings: dict[str, Any] = {"spool": spool_in(request.getfixturevalue("bucket"))} if place == "an object store" else {}

    async def story() -> None:
        behaviour = Behaviour(replies={"RCPT": "450 4.2.0 greylisted"})
        for name in ("old", "new"):
            (tmp_path / name).mkdir()
        first = sqlite_database(tmp_path / "old")
        first.upgrade()
        policy = {"rules/pass.yaml": HOLD}
        async with (
            Sink(behaviour) as sink,
            house(tmp_path / "old", first.relay, outside=sink.port, policy=policy) as old,
            house(tmp_path / "new", database, outside=sink.port, policy=policy, settings=settings, started=False) as new,
        ):
            shutil.rmtree(new.folder / "keys")
            shutil.copytree(old.folder / "keys", new.folder / "keys")
            waits = [await old.send(raw) for raw in (message("Waits"), with_attachment("film.bin", LARGE))]
            looked_at = await old.send(message("Looked at"), to=["judge@court.example"])
            await old.until_states(looked_at, "quarantined")
            await old.stop()
            said = (await old.sluis("store", "migrate", "--to", str(new.config), "--reason", "it grows", "--json")).json
            assert said["bodies"] == 3
            behaviour.replies.clear()

            await old.start()  # somebody forgot
            assert "is being moved" in (await old.sluis("brake", "show", "--json")).json["reason"]
            await old.stop()
            shutil.rmtree(old.folder / "spool")  # nothing of it is needed any more
            assert sink.messages == []
            await new.start()
            for reply in waits:
                await new.until_states(reply, "delivered")
            assert (await new.sluis("quarantine", "release", looked_at.id.hex, "--reason", "seen")).code == 0
            await new.until_states(looked_at, "delivered")
            assert len(sink.messages) == 3
            after = await new.send(message("After"))
            await new.until_states(after, "delivered")
            assert not (await new.sluis("brake", "show", "--json")).json["brake"]
            assert '"store-behind"' not in new.log()
            checked = await new.sluis("store", "check", "--bodies", "--json")
            assert checked.json["ok"], checked.out

    asyncio.run(story())
