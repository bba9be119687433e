"""Several processes write to one SQLite file: by turns, and a turn ends with the process that had it."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from relay.model.errors import StoreError
from relay.settings.models import Store
from relay.store.engine import WriterLock, open_engine
from relay.store.journal import Journal
from relay.store.tables import Counter
from relay.store.turn import Turn

COUNTER = Counter.__table__  # type: ignore[attr-defined]
ON_SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
HOLDS = """
import sys, time
from pathlib import Path
from relay.store.turn import Turn
with Turn(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(1000)
"""
WRITES = 40


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "sluis.db"


@pytest.fixture
def holder(database_file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the turn, and does not give it up."""
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(database_file)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_turn_waits_for_the_one_before_and_is_given_up_by_a_process_that_dies(holder: subprocess.Popen[str], database_file: Path) -> None:
    turn = Turn(database_file)
    held = threading.Event()

    def take() -> None:
        with turn:
            held.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not held.wait(0.05)
    holder.kill()
    assert held.wait(20)
    waiting.join()
    turn.close()


def add(key: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(insert(COUNTER).values(scope="turn", key=key, window_us=0, count=1))

    return work


def write_many(url: str, name: str) -> None:
    """A process of its own, whose commits meet those of others."""
    store = Store(url=url)
    engine = open_engine(store)
    database = Path(engine.url.database or "")
    turn = Turn(database)
    journal = Journal(engine, turn=turn)
    journal.start()

    async def write() -> None:
        for number in range(WRITES):
            await journal.submit(add(f"{name}-{number}"))

    asyncio.run(write())
    journal.close()
    engine.dispose()
    turn.close()


@ON_SQLITE
def test_what_several_processes_commit_is_all_there(database: Store) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(database.url, f"writer{number}")) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    engine = open_engine(database)
    with engine.connect() as connection:
        found = set(connection.execute(select(COUNTER.c.key).where(COUNTER.c.scope == "turn")).scalars())
    engine.dispose()
    assert found == {f"writer{writer}-{number}" for writer in range(3) for number in range(WRITES)}


@ON_SQLITE
def test_what_is_submitted_while_another_has_the_turn_meets_in_one_commit(database: Store) -> None:
    engine = open_engine(database)
    file = Path(engine.url.database or "")
    turn, other = Turn(file), Turn(file)
    journal = Journal(engine, turn=turn)
    journal.start()

    async def story() -> None:
        with other:
            works = [asyncio.create_task(journal.submit(add(str(number)))) for number in range(5)]
            done, _ = await asyncio.wait(works, timeout=0.05)
            assert not done
        await asyncio.gather(*works)

    asyncio.run(story())
    assert (journal.commits, journal.works) == (1, 5)
    journal.close()
    engine.dispose()
    turn.close()
    other.close()


def test_the_lock_over_the_file_goes_with_the_last_process_that_has_a_copy(database_file: Path) -> None:
    lock, second = WriterLock(database_file), WriterLock(database_file)
    descriptor = lock.acquire()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], pass_fds=[descriptor])
    try:
        lock.release()
        with pytest.raises(StoreError, match=f"held by process {os.getpid()}"):
            second.acquire()
    finally:
        child.kill()
        child.wait()
    second.acquire()
    second.release()
