"""Several machines over one PostgreSQL, their bodies in a folder or in an object store: any of them dies or stands still, and the checker
finds every message where it must be."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import Verdict
from tests.faults.client import SMALL, Transaction
from tests.faults.patient import over_bucket
from tests.faults.rounds import judged
from tests.faults.stand import CLERKS, DESK, HELD, LOOK_SECONDS, Stand, stand
from tests.servers.clamd import Clamd
from tests.servers.database import Database
from tests.stories.house import House, until
from tests.stories.machines import machine, stopped

LEASE_SECONDS = 8
"""A relay that had no turn for two thirds of it has lost its claims: however busy the machine is, that is long. Others wait for it once."""
SETTINGS: dict[str, Any] = {"delivery": {"lease": LEASE_SECONDS}, "control": {"two_people": False}}
EACH = 2
"""Messages that each machine is amid when one dies and another is stopped."""


def settings_over(place: str, request: pytest.FixtureRequest, **more: Any) -> Mapping[str, Any]:
    """With the bodies in a folder or in the object store."""
    if place == "folder":
        return {**SETTINGS, **more}
    bucket = request.getfixturevalue("bucket")
    return {**SETTINGS, "spool": over_bucket(bucket), **more}


def claims_of(at: Stand, one: House) -> dict[tuple[Any, int], int]:
    """What a machine's relay holds: the delivery and the end of its lease. An owner is a host, a process and a number of chance."""
    pid = str(one.pid)
    return {(row.message_id, row.ordinal): row.lease_until_us for row in at.queued() if row.owner and row.owner.split(":")[1] == pid}


def delivered(transaction: Transaction) -> str:
    """How the log of the machine that delivered it says so."""
    assert transaction.id is not None
    return f'"event": "delivery", "message": "{transaction.id.hex}"'


async def send_to(at: Stand, machines: Sequence[House], recipients: Sequence[str]) -> list[list[Transaction]]:
    """`EACH` messages to each machine, all at once."""
    composed = [[(one, at.compose(recipients, SMALL)) for _ in range(EACH)] for one in machines]
    sending = [[asyncio.create_task(at.client.send(one.port(), transaction)) for one, transaction in group] for group in composed]
    return [[await task for task in group] for group in sending]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_what_a_dead_machine_and_one_that_stands_still_past_its_lease_had_claimed_is_taken_over(
    tmp_path: Path, new_database: Database, shared_clamd: Clamd, place: str, request: pytest.FixtureRequest
) -> None:
    async def story() -> None:
        settings = settings_over(place, request)
        async with (
            stand(tmp_path, new_database.relay, shared_clamd, seed=41, settings=settings, owner=new_database.owner) as at,
            machine(at.house, "two") as two,
            machine(at.house, "three") as three,
        ):
            one = at.house
            release = at.hop.hold("DATA")
            first, second, third = await send_to(at, (one, two, three), [CLERKS[0], HELD, DESK])
            assert all(each.heard_250 for each in (*first, *second, *third))
            await until(lambda: at.hop.waiting.count("DATA") == 3 * EACH, "all to be amid their delivery")
            await two.kill()
            with stopped(three):
                held = claims_of(at, three)
                assert {identity for identity, _ in held} == {each.id for each in third}, "the third machine holds other claims"
                release()
                await at.settle()
                assert time.time() > max(held.values()) / 1e6, "its lease was not over"
                taken_over = [delivered(each) for each in (*second, *third)]
                await until(lambda: all(line in one.log() for line in taken_over), "the first machine to have taken them over")
                assert not any(line in three.log() for line in taken_over)
                (again,) = await send_to(at, [one], [CLERKS[0]])
                assert all(each.heard_250 for each in again)
            await until(
                lambda: all(each.id is not None and three.log().count(each.id.hex) > 1 for each in third),
                "the third machine to see that its claims are lost",
            )
            (after,) = await send_to(at, [three], [CLERKS[0]])
            assert all(each.heard_250 for each in after)
            await at.settle()
            verdict = at.check()
            assert judged(verdict, Verdict()) == []
            assert (verdict.heard, verdict.duplicates, verdict.possible_duplicates) == (5 * EACH, 0, 0)

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_under_load_a_machine_dies_another_stands_still_and_every_message_is_accounted_for(
    tmp_path: Path, new_database: Database, shared_clamd: Clamd, place: str, request: pytest.FixtureRequest
) -> None:
    async def story() -> None:
        settings = settings_over(place, request)
        async with (
            stand(tmp_path, new_database.relay, shared_clamd, seed=42, settings=settings, owner=new_database.owner) as at,
            machine(at.house, "two") as two,
            machine(at.house, "three") as three,
        ):
            one, over = at.house, asyncio.Event()

            async def client(each: House) -> None:
                """One after the other; to a machine that is gone it sends no more."""
                while not over.is_set():
                    try:
                        sent = await at.client.send(each.port(), at.compose())
                    except OSError:
                        return
                    if sent.reply is None:
                        return

            clients = [asyncio.create_task(client(each)) for each in (one, two, three)]

            def taken() -> int:
                return sum(each.heard_250 for each in at.client.log)

            await until(lambda: taken() > 12, "some mail")
            release = at.hop.hold("DATA")
            await until(lambda: claims_of(at, three), "the third machine to be amid a delivery", every=LOOK_SECONDS)
            await two.kill()
            with stopped(three):
                release()
                before = taken()
                await until(lambda: taken() > before + 3, "mail through the first machine")
                await until(lambda: not claims_of(at, three), "all that it holds to be taken over", every=LOOK_SECONDS)
            over.set()
            await asyncio.gather(*clients)
            await at.again([each for each in at.client.log if each.dot])
            await at.settle()
            verdict = at.check()
            assert judged(verdict, Verdict()) == []
            assert verdict.duplicates <= verdict.possible_duplicates

    asyncio.run(story())
