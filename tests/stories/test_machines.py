"""Several machines over one PostgreSQL and one spool: any of them may stop at any moment, and what one is told holds for all."""

import asyncio
import json
import os
import signal
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from relay.phases import change
from relay.policy.load import digest, read_files
from relay.settings.models import Store
from relay.store import policies
from relay.store.engine import open_engine
from relay.store.tables import Queue
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import PASS, House, Reply, house, message, until
from tests.stories.machines import WAITS_LONG, machine, run_out, stopped
from tests.stories.windows import HOUR, room_in

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
SETTINGS: dict[str, Any] = {"delivery": {"lease": 60}, "control": {"two_people": False}}
LEASE_SECONDS = 6
"""Of the one story that sees a lease renewed: who has no turn for two thirds of one loses it."""
QUEUE = Queue.__table__  # type: ignore[attr-defined]
PHASE_CHANGE_LOCK = 0x536C756973
STRICTER = PASS + "  - {name: no-hearings, when: {subject_contains: [Hearing]}, then: quarantine, because: hearings are looked at}\n"
LIMITED = '    may_send_to: ["*"]\n    limits: {messages_per_hour: 10}\n'


def duplicates(one: House, reply: Reply) -> int:
    """How many second sendings the record holds possible."""
    (row,) = one.rows(reply.id)
    return int(row.possible_duplicates)


def test_what_a_killed_machine_was_delivering_is_delivered_by_another(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        async with (
            Sink(Behaviour(gates={"DATA": gate})) as sink,
            house(tmp_path, database, outside=sink.port, settings=SETTINGS) as one,
            machine(one, "two", started=False) as two,
        ):
            reply = await one.send(message())
            await until(lambda: "DATA" in sink.commands, "the delivery to reach DATA")
            await one.kill()
            run_out(one)
            await two.start()
            gate.set()
            await two.until_states(reply, "delivered")
            assert (len(sink.messages), duplicates(two, reply)) == (1, 0)

    asyncio.run(story())


def test_who_stood_still_past_its_lease_sends_no_final_dot(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        async with (
            Sink(Behaviour(gates={"DATA": gate})) as sink,
            house(tmp_path, database, outside=sink.port, settings=SETTINGS) as one,
            machine(one, "two") as two,
        ):
            reply = await one.send(message())
            await until(lambda: "DATA" in sink.commands, "the delivery to reach DATA")
            with stopped(one):
                run_out(one)
                gate.set()
                await two.until_states(reply, "delivered")
            await until(lambda: "withdrawn before the final dot" in one.log(), "the first machine to withdraw")
            assert (len(sink.messages), duplicates(one, reply)) == (1, 0)
            assert len(await one.events("outcome")) == 1

    asyncio.run(story())


def test_who_stood_still_behind_its_final_dot_writes_no_outcome_and_the_record_names_the_second_sending(
    tmp_path: Path, database: Store
) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        async with (
            Sink(Behaviour(gates={"DOT": gate}, keep_at_dot=True)) as sink,
            house(tmp_path, database, outside=sink.port, settings=SETTINGS) as one,
            machine(one, "two") as two,
        ):
            reply = await one.send(message())
            await sink.wait_for_messages(1)
            with stopped(one):
                run_out(one)
                gate.set()
                await two.until_states(reply, "delivered")
            await until(lambda: '"lease lost"' in one.log(), "the first machine to see that its lease is lost")
            assert (len(sink.messages), duplicates(one, reply)) == (2, 1)
            (outcome,) = await one.events("outcome")
            assert outcome["details"]["recipients"][0]["possible_duplicate"] is True

    asyncio.run(story())


def test_who_stands_still_amid_a_transaction_keeps_neither_the_brake_nor_its_deliveries_from_others(
    tmp_path: Path, database: Store
) -> None:
    """It is stopped while its mark waits for a lock, and would hold that lock for as long as it stands still."""

    async def story() -> None:
        engine = open_engine(database)
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port, settings=SETTINGS) as one,
            machine(one, "two", started=False) as two,
        ):
            with engine.connect() as connection:
                connection.execute(text(WAITS_LONG))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({PHASE_CHANGE_LOCK})"))
                reply = await one.send(message())
                waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                await until(lambda: connection.execute(waits).scalar() == 1, "the mark to wait")
                os.kill(one.pid, signal.SIGSTOP)
            try:
                await two.start()
                assert (await two.sluis("brake", "pull", "--reason", "something leaks")).code == 0
                assert (await two.sluis("brake", "release", "--reason", "it does not")).code == 0
                run_out(two)
                await two.until_states(reply, "delivered")
            finally:
                os.kill(one.pid, signal.SIGCONT)
            await until(lambda: "before the final dot" in one.log(), "the first machine to give up")
            assert (len(sink.messages), duplicates(two, reply)) == (1, 0)
        engine.dispose()

    asyncio.run(story())


def test_a_delivery_that_takes_longer_than_its_lease_stays_with_who_has_it(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        engine = open_engine(database)

        def lease() -> tuple[str, int]:
            with engine.connect() as connection:
                row = connection.execute(select(QUEUE.c.owner, QUEUE.c.lease_until_us)).one()
                return row.owner, row.lease_until_us

        async with (
            Sink(Behaviour(gates={"DATA": gate})) as sink,
            house(tmp_path, database, outside=sink.port, settings={"delivery": {"lease": LEASE_SECONDS}}) as one,
            machine(one, "two"),
        ):
            reply = await one.send(message())
            await until(lambda: "DATA" in sink.commands, "the delivery to reach DATA")
            owner, first = lease()
            await until(lambda: lease()[1] > first + LEASE_SECONDS * 1_000_000, "a lease that began after the first had ended")
            assert (lease()[0], sink.connections) == (owner, 1)
            gate.set()
            await one.until_states(reply, "delivered")
            assert (len(sink.messages), duplicates(one, reply)) == (1, 0)
        engine.dispose()

    asyncio.run(story())


def test_policy_phase_and_brake_are_in_force_on_all_machines_within_two_seconds(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port, settings=SETTINGS) as one,
            machine(one, "two") as two,
            machine(one, "three") as three,
        ):
            others = (two, three)
            took: list[float] = []
            one.write_policy({"rules/pass.yaml": STRICTER})
            await one.reload()
            changed = digest(read_files(one.policies))
            took += [await seen(other, changed[:12], await told(one, "policy")) for other in others]
            assert two.states((await two.send(message())).id) == ["quarantined"]
            assert (await one.sluis("phase", "set", "closed", "--reason", "a break-in")).code == 0
            took += [await seen(other, "closed", await told(one, "phase")) for other in others]
            assert (await two.sluis("brake", "pull", "--reason", "something leaks")).code == 0
            took += [await seen(other, "brake", await told(one, "brake")) for other in (one, three)]
            reply = await three.send(message("No such words"))
            assert three.states(reply.id) == ["held"]
            assert sink.messages == []
            assert max(took) <= 2, took

    asyncio.run(story())


async def told(one: House, kind: str) -> float:
    """When the last event of this kind was, in seconds since 1970."""
    return int((await one.events(kind))[-1]["time_us"]) / 1e6


async def seen(one: House, epoch: str, since: float) -> float:
    """Waits until the log says that an epoch is in force of which `epoch` is a part; gives the seconds that it took."""

    def times() -> list[float]:
        lines = [json.loads(line) for line in one.log().splitlines() if '"epoch changed"' in line]
        found = [datetime.fromisoformat(line["time"]).timestamp() for line in lines if epoch in line["epoch"]]
        return [time for time in found if time >= since - 0.01]  # the log has milliseconds

    await until(times, lambda: f"{epoch} to be in force: {one.log()[-1000:]}")
    return times()[0] - since


def test_machines_that_can_not_work_under_the_policy_in_force_defer_until_they_can(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        engine = open_engine(database)
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=SETTINGS) as one, machine(one, "two") as two:
            files = read_files(one.policies)
            files["organisation.yaml"] += "a_key_of_tomorrow: true\n"
            with engine.begin() as connection:
                policies.keep(connection, digest(files), files, 1)
                change.set_policy(connection, digest(files), "a machine of tomorrow", "an update that has begun elsewhere", 1)
            for each in (one, two):
                await until(lambda each=each: '"alert": "policy-unavailable"' in each.log(), "the alert")
                reply = await each.send(message())
                assert (reply.code, reply.text) == (451, "4.3.5 Not able to decide now, try again later")
            await one.reload()
            await one.until_states(await one.send(message()), "delivered")
            await two.until_states(await two.until_taken(message()), "delivered")
            assert len(sink.messages) == 2
        engine.dispose()

    asyncio.run(story())


def test_a_limit_holds_for_all_machines_together(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        clients = "clients.yaml"
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=SETTINGS) as one:
            limited = (one.policies / clients).read_text().replace('    may_send_to: ["*"]\n', LIMITED)
            one.write_policy({clients: limited})
            await one.reload()
            async with machine(one, "two") as two:
                await room_in(HOUR)
                replies = await asyncio.gather(*(each.send(message(f"No {number}")) for number in range(10) for each in (one, two)))
                assert Counter(reply.code for reply in replies) == {250: 10, 450: 10}

    asyncio.run(story())
