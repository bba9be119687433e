"""Several processes on one machine: they share the ports, and one that dies is started again."""

import asyncio
import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from relay.policy.load import digest, read_files
from relay.settings.models import Store
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import PASS, SECONDS, House, house, message, parts, until

PROCESSES = {"processes": 2, "delivery": {"lease": 2}, "control": {"two_people": False}}
STRICTER = PASS + "  - {name: no-hearings, when: {subject_contains: [Hearing]}, then: quarantine, because: hearings are looked at}\n"
ON_POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


def page(one: House, name: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{one.relay.ports['http']}/{name}", timeout=20) as answer:
        text: str = answer.read().decode()
    return text


async def spread(one: House) -> None:
    """Sends until both processes have taken something."""
    async with asyncio.timeout(SECONDS):
        while not all(f'"process": "listen-{number}", "logger": "sluis.road", "event": "accepted"' in one.log() for number in (1, 2)):
            assert (await one.send(message())).code == 250


@ON_POSTGRESQL
def test_processes_share_the_ports_and_are_seen_as_one(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=PROCESSES) as one:
            assert set(parts(one.pid)) == {"deliver", "listen-1", "listen-2"}
            await spread(one)
            await until(lambda: all(row.state == "delivered" for row in one.rows()), "all to be delivered")
            metrics = await asyncio.to_thread(page, one, "metrics")
            taken = [line for line in metrics.splitlines() if line.startswith("sluis_messages_received_total{")]
            assert sum(float(line.split()[-1]) for line in taken) == len(sink.messages)
            assert metrics.count("# TYPE sluis_sessions_total counter") == 1
            assert f'sluis_deliveries{{state="delivered"}} {float(len(sink.messages))}' in metrics
            assert 'sluis_process_up{process="deliver"} 1.0' in metrics
            assert await asyncio.to_thread(page, one, "ready") == "ready\n"
            before = set(parts(one.pid).values())
            one.write_policy({"rules/pass.yaml": STRICTER})
            await one.reload()
            name = digest(read_files(one.policies))[:12]
            for process in ("deliver", "listen-1", "listen-2"):
                await until(lambda: any(f'"process": "{process}"' in line and name in line for line in one.log().splitlines()), process)  # noqa: B023
            assert one.states((await one.send(message())).id) == ["quarantined"]
            assert set(parts(one.pid).values()) == before

    asyncio.run(story())


@ON_POSTGRESQL
def test_a_process_that_dies_is_started_again_and_no_client_is_turned_away(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=PROCESSES) as one:
            first = parts(one.pid)
            for name in ("listen-1", "deliver"):
                os.kill(first[name], signal.SIGKILL)
            replies = await asyncio.gather(*(one.send(message()) for _ in range(8)))
            assert {reply.code for reply in replies} == {250}
            for reply in replies:
                await one.until_states(reply, "delivered")
            await until(lambda: set(parts(one.pid)) == set(first), "both to be back")
            assert parts(one.pid)["listen-2"] == first["listen-2"]
            await until(lambda: one.log().count('"alert": "process-died"') == 2, "both alerts")
            assert len(sink.messages) == 8
            metrics = await asyncio.to_thread(page, one, "metrics")
            assert 'sluis_process_restarts_total{process="listen-1"} 1.0' in metrics

    asyncio.run(story())


@ON_POSTGRESQL
def test_a_process_that_stands_still_is_ended_and_what_it_was_delivering_leaves_once(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        async with (
            Sink(Behaviour(gates={"DATA": gate})) as sink,
            house(tmp_path, database, outside=sink.port, settings=PROCESSES) as one,
        ):
            first = parts(one.pid)
            reply = await one.send(message())
            await until(lambda: "DATA" in sink.commands, "the delivery to reach DATA")
            os.kill(first["deliver"], signal.SIGSTOP)
            gate.set()
            during = await one.send(message())
            assert during.code == 250
            for each in (reply, during):
                await one.until_states(each, "delivered")
            await until(lambda: '"alert": "process-silent", "process": "deliver"' in one.log(), "the alert")
            assert len(sink.messages) == 2
            second = parts(one.pid)
            assert second["deliver"] != first["deliver"]
            assert {name: pid for name, pid in second.items() if name != "deliver"} == {
                name: pid for name, pid in first.items() if name != "deliver"
            }

    asyncio.run(story())


@ON_POSTGRESQL
def test_with_the_parent_all_are_gone(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=PROCESSES) as one:
            reply = await one.send(message())
            children = parts(one.pid)
            await one.kill()
            await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children.values()), "the processes to end")
            await one.start()
            await one.until_states(reply, "delivered")

    asyncio.run(story())


@ON_POSTGRESQL
def test_a_process_that_can_not_start_at_all_stops_the_start(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=PROCESSES, started=False) as one:
            one.write_policy({"organisation.yaml": "nothing: here\n"})
            said = await one.sluis("serve")
            assert (said.code, "the process deliver did not start (exit code 1)" in said.err) == (1, True)
            assert "unknown key 'nothing'" in said.err

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_process_whose_parent_went_before_it_could_hear_of_that_does_not_start(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, started=False) as one:
            part = json.dumps({"name": "listen-1", "sockets": {}, "http": str(tmp_path / "http"), "parent": 1})
            said = await one.sluis("serve", "--role", "listen", "--part", part)
            assert (said.code, "the parent of this process is gone" in said.err) == (1, True)

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_on_sqlite_there_is_one_process(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=PROCESSES, started=False) as one:
            for words in (["serve"], ["check"]):
                said = await one.sluis(*words)
                assert (said.code, "on SQLite one process does everything" in said.err) == (1, True)

    asyncio.run(story())
