"""A store that went back in time: nothing leaves until a person has looked, and nothing that heard 250 is thrown away."""

import asyncio
import os
import time
from pathlib import Path

from relay.settings.models import Store
from tests.servers.copies import Copies
from tests.servers.sink import Sink
from tests.stories.house import House, house, message


async def let_go(sluis: House) -> None:
    """Two people."""
    asked = (await sluis.sluis("brake", "release", "--reason", "looked at what was delivered twice", "--json")).json
    answer = await sluis.ask_as_nobody("request.approve", request=asked["request"], reason="seen as well")
    assert "error" not in answer, answer


def test_a_restored_backup_delivers_nothing_until_two_people_have_let_go(tmp_path: Path, database: Store, copies: Copies) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, started=False) as sluis:
            await sluis.start()
            known = await sluis.send(message("Known"))
            await sluis.until_states(known, "delivered")
            await sluis.stop()
            copies.keep()
            await sluis.start()
            lost = await sluis.send(message("Lost"))
            await sluis.until_states(lost, "delivered")
            await sluis.stop()
            body = sluis.folder / "spool" / lost.id.hex[:6] / lost.id.hex
            long_ago = time.time() - 10 * 3600  # as old as an orphan that the sweep takes
            os.utime(body, (long_ago, long_ago))
            sluis._engine.dispose()  # the story's own look at the file that is replaced
            copies.put_back()

            await sluis.start()
            brake = (await sluis.sluis("brake", "show", "--json")).json
            assert brake["brake"]
            assert "restored from a backup" in brake["reason"]
            assert '"store-behind"' in sluis.log()
            waits = await sluis.send(message("Waits"))
            assert waits.code == 250
            await sluis.until_states(waits, "held")
            assert sluis.rows(lost.id) == []
            assert body.exists(), "it heard 250: it is no orphan"

            await let_go(sluis)
            await sluis.until_states(waits, "delivered")
            assert (await sluis.sluis("brake", "show")).out == "the brake is off\n"
            await sluis.stop()
            await sluis.start()
            after = await sluis.send(message("After"))
            await sluis.until_states(after, "delivered")
            assert body.exists()
            assert [event["result"] for event in await sluis.events("brake")] == ["on", "off"]
            assert [event["result"] for event in await sluis.events("high-water")] == ["moved"]
            assert [found.raw.count(b"Subject: Lost") for found in sink.messages].count(1) == 1

    asyncio.run(story())
