"""The database is lost and the spool is not: nothing that heard 250 is lost, and a person says what may leave."""

import asyncio
from pathlib import Path

from relay.settings.models import Store
from tests.servers.copies import Copies
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import house, message, with_attachment
from tests.stories.test_went_back import let_go


def test_after_the_loss_of_the_database_all_mail_waits_in_quarantine_and_leaves_when_a_person_releases_it(
    tmp_path: Path, database: Store, copies: Copies
) -> None:
    async def story() -> None:
        behaviour = Behaviour()
        async with Sink(behaviour) as sink, house(tmp_path, database, outside=sink.port, started=False) as sluis:
            copies.keep()  # an empty store
            await sluis.start()
            left = await sluis.send(message("It had left"))
            await sluis.until_states(left, "delivered")
            behaviour.replies["RCPT"] = "450 4.2.0 greylisted"
            waits = await sluis.send(with_attachment("plan.txt", b"The plan.\r\n" * 10_000, Subject="It waited"))
            await sluis.stop()
            sluis._engine.dispose()  # the story's own look at the file that is replaced
            copies.put_back()

            said = (await sluis.sluis("store", "rebuild", "--reason", "the disk died", "--json")).json
            assert (said["rebuilt"], said["problems"]) == (2, [])
            behaviour.replies.clear()
            await sluis.start()
            brake = (await sluis.sluis("brake", "show", "--json")).json
            assert "rebuilt from the spool" in brake["reason"]
            for reply in (left, waits):
                (row,) = await sluis.until_states(reply, "quarantined")
                assert row.possible_duplicates == 1
                assert row.m_commitment == reply.commitment, "the word that the client heard still finds it"
            await let_go(sluis)
            assert len(sink.messages) == 1, "nothing leaves by itself"
            asked = await sluis.sluis("quarantine", "release", waits.id.hex, "--reason", "the court never got it")
            assert asked.code == 0, asked.err
            (row,) = await sluis.until_states(waits, "delivered")
            assert row.possible_duplicates == 1
            assert row.m_inspection["header"]["subject"] == "It waited", "it was inspected before it left"
            assert [found.raw.count(b"Subject: It waited") for found in sink.messages] == [0, 1]
            assert b"DKIM-Signature:" in sink.messages[1].raw
            deleted = await sluis.sluis("quarantine", "delete", left.id.hex, "--reason", "the court has it")
            assert deleted.code == 0, deleted.err
            await sluis.until_states(left, "deleted")
            (told,) = [event for event in await sluis.events("rebuilt") if waits.id.hex in event["object"]]
            assert told["details"]["accepted"]["kind"] == "accepted"

    asyncio.run(story())
