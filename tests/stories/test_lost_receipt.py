"""The lost 250 (RFC 1047): what a client sends again because it did not hear the receipt is taken once."""

import asyncio
from pathlib import Path

from relay.settings.models import Store
from tests.servers.sink import Sink
from tests.stories.dialogue import Dialogue, stuffed, talking
from tests.stories.house import CLERK, SENDER, House, house, message, until

LEASE = {"delivery": {"lease": 2}}  # seconds until the claim of a relay that was killed is over, on PostgreSQL


async def unheard(sluis: House, client: Dialogue, raw: bytes) -> None:
    """Sends a whole message and waits until it is in the record; the client reads nothing more."""
    before = len(sluis.rows())
    await client.envelope()
    assert (await client.say("DATA")).startswith("354 ")
    await client.write(stuffed(raw) + b".\r\n")
    await until(lambda: len(sluis.rows()) > before, "the commit")


def test_a_relay_that_was_killed_before_its_250_was_heard_says_it_again_and_delivers_once(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=LEASE) as sluis:
            raw = message()
            async with talking(sluis.port()) as client:
                await unheard(sluis, client, raw)
                await sluis.kill()
            (row,) = sluis.rows()
            await sluis.start()
            reply = await sluis.send(raw, to=[CLERK], sender=SENDER)
            assert (reply.code, reply.id, reply.commitment) == (250, row.message_id, row.m_commitment)
            await sluis.until_states(reply, "delivered")
            assert len(sluis.rows()) == 1
            assert len(sink.messages) == 1
            (event,) = await sluis.events("adopted")
            assert event["object"] == f"message {row.message_id.hex}"

    asyncio.run(story())
