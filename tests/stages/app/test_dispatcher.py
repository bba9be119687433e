"""What the dispatcher takes from the queue, and when it takes nothing."""

import asyncio

from relay.app.custody import Custody
from relay.app.dispatcher import Dispatcher
from relay.model.message import Body, Claimed
from relay.observe.alerts import Alerts
from relay.settings.models import Delivery
from tests.servers.recording import Recording

ASKED_OFTEN = 5
"""Looks at the queue; one is enough to claim what is due."""


class Brake:
    """Asked before each look at the queue."""

    def __init__(self) -> None:
        self.on = True
        self.asked = 0
        self.asked_often = asyncio.Event()

    def __call__(self) -> bool:
        self.asked += 1
        if self.asked >= ASKED_OFTEN:
            self.asked_often.set()
        return self.on


class NotedCustody(Custody):
    """Notes what it is to bring on, and does nothing."""

    def __init__(self) -> None:
        self.claims: asyncio.Queue[Claimed] = asyncio.Queue()

    async def bring_on(self, claimed: Claimed, body: Body | None = None) -> None:
        self.claims.put_nowait(claimed)


def test_while_the_brake_is_on_nothing_is_claimed(recording: Recording) -> None:
    identity = recording.accept().decided.inspected.received.id

    async def story() -> None:
        brake, custody = Brake(), NotedCustody()
        settings = Delivery(poll=0.01)
        dispatcher = Dispatcher(custody, recording.journal, recording.reader, recording.clock, settings, "relay-1", brake, Alerts())
        dispatcher.start()
        try:
            async with asyncio.timeout(20):
                await brake.asked_often.wait()
                (row,) = recording.rows("queue")
                assert (row["owner"], row["fence"], custody.claims.empty()) == (None, 0, True)
                brake.on = False
                assert (await custody.claims.get()).message.id == identity
        finally:
            await dispatcher.stop(10)

    asyncio.run(story())
