"""What the dispatcher takes from the queue, and when it takes nothing."""

import asyncio

import pytest

from relay.app.custody import Custody
from relay.app.dispatcher import Dispatcher
from relay.model.message import Body, Claimed
from relay.observe.alerts import Alerts
from relay.settings.models import Delivery
from tests.servers.recording import HandClock, Recording

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


class BrokenOnce(Brake):
    """A bug at the first look."""

    def __init__(self) -> None:
        super().__init__()
        self.on = False

    def __call__(self) -> bool:
        if super().__call__() or self.asked == 1:
            raise RuntimeError("a bug")
        return False


def test_a_bug_at_one_look_at_the_queue_does_not_end_all_looks(recording: Recording, caplog: pytest.LogCaptureFixture) -> None:
    identity = recording.accept().decided.inspected.received.id

    async def story() -> None:
        custody, settings = NotedCustody(), Delivery(poll=0.01)
        dispatcher = Dispatcher(custody, recording.journal, recording.reader, recording.clock, settings, "relay-1", BrokenOnce(), Alerts())
        dispatcher.start()
        try:
            async with asyncio.timeout(20):
                assert (await custody.claims.get()).message.id == identity
        finally:
            await dispatcher.stop(10)

    asyncio.run(story())
    (told,) = [record for record in caplog.records if record.exc_info]
    assert "begins again" in told.getMessage()


class HeldCustody(NotedCustody):
    """Does not come to an end until `over`."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    async def bring_on(self, claimed: Claimed, body: Body | None = None) -> None:
        await super().bring_on(claimed)
        await self.over.wait()


class LookedAtClock(HandClock):
    """Tells when it was looked at often."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = 0
        self.often = asyncio.Event()

    def now_us(self) -> int:
        self.looked += 1
        if self.looked >= ASKED_OFTEN:
            self.often.set()
        return super().now_us()


def test_what_has_just_begun_is_not_renewed_and_what_takes_long_is(recording: Recording) -> None:
    recording.accept()

    async def story() -> None:
        custody, settings, clock, brake = HeldCustody(), Delivery(poll=1000, lease=0.1), LookedAtClock(), Brake()
        brake.on = False
        dispatcher = Dispatcher(custody, recording.journal, recording.reader, clock, settings, "relay-1", brake, Alerts())
        dispatcher.start()
        try:
            async with asyncio.timeout(20):
                claimed = await custody.claims.get()
                clock.looked, works = 0, recording.journal.works
                clock.often.clear()
                await clock.often.wait()
                assert recording.journal.works == works, "nothing is written for what is young"
                clock.forward(50_000)
                while recording.rows("queue")[0]["lease_until_us"] == claimed.lease_until_us:
                    await asyncio.sleep(0)
                assert recording.rows("queue")[0]["lease_until_us"] == claimed.lease_until_us + 50_000
                await recording.journal.submit(lambda _: None)  # behind the renewal, of which the dispatcher has heard then
                works = recording.journal.works
                clock.forward(1_000)
                clock.looked = 0
                clock.often.clear()
                await clock.often.wait()
                assert recording.journal.works == works, "what was renewed is young again"
        finally:
            custody.over.set()
            await dispatcher.stop(10)

    asyncio.run(story())
