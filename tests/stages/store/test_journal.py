"""The journal: many works in one durable commit, and each gets its own answer."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, func, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from relay.model.errors import SluisError, StoreError
from relay.store.journal import Journal
from relay.store.tables import Counter

COUNTER = Counter.__table__  # type: ignore[attr-defined]


@pytest.fixture
def journal(engine: Engine) -> Iterator[Journal]:
    journal = Journal(engine)
    yield journal
    journal.close()


def add(key: str) -> Any:
    """A work that adds a row, and gives its key."""

    def work(connection: Connection) -> str:
        connection.execute(insert(COUNTER).values(scope="test", key=key, window_us=0, count=1))
        return key

    return work


def keys(engine: Engine) -> set[str]:
    """As another connection sees them: what is committed."""
    with engine.connect() as connection:
        return {row.key for row in connection.execute(select(COUNTER.c.key))}


def test_what_was_submitted_is_committed_when_submit_returns(engine: Engine, journal: Journal) -> None:
    journal.start()

    async def story() -> None:
        for number in range(3):
            assert await journal.submit(add(str(number))) == str(number)
            assert str(number) in keys(engine)

    asyncio.run(story())


def test_nothing_returns_before_the_commit(engine: Engine, journal: Journal) -> None:
    order: list[str] = []
    event.listen(engine, "commit", lambda _: order.append("commit"))
    journal.start()

    async def story() -> None:
        await journal.submit(add("a"))
        order.append("returned")

    asyncio.run(story())
    assert order == ["commit", "returned"]


def test_what_waits_together_is_committed_together(engine: Engine, journal: Journal) -> None:
    async def story() -> None:
        waiting = [asyncio.ensure_future(journal.submit(add(str(number)))) for number in range(50)]
        await asyncio.sleep(0)
        journal.start()
        await asyncio.gather(*waiting)

    asyncio.run(story())
    assert (journal.commits, journal.works) == (1, 50)
    assert len(keys(engine)) == 50


def test_a_commit_holds_no_more_works_than_the_batch(engine: Engine) -> None:
    journal = Journal(engine, batch=8)

    async def story() -> None:
        waiting = [asyncio.ensure_future(journal.submit(add(str(number)))) for number in range(20)]
        await asyncio.sleep(0)
        journal.start()
        await asyncio.gather(*waiting)

    asyncio.run(story())
    journal.close()
    assert (journal.commits, journal.works) == (3, 20)


def commits_of_two(engine: Engine, gather: float) -> list[int]:
    """Commits when two works are committed, when the next one was taken, and when one more is."""
    journal = Journal(engine, gather=gather)

    async def story() -> list[int]:
        commits = []
        waiting = [asyncio.ensure_future(journal.submit(add(f"{gather} {number}"))) for number in range(2)]
        await asyncio.sleep(0)
        journal.start()
        await asyncio.gather(*waiting)
        commits.append(journal.commits)
        first = asyncio.ensure_future(journal.submit(add(f"{gather} first")))
        await asyncio.sleep(0)
        while journal.waiting:
            await asyncio.sleep(0)
        commits.append(journal.commits)  # the first one was taken, and is not committed
        await journal.submit(add(f"{gather} second"))
        commits.append(journal.commits)
        await first
        return commits

    found = asyncio.run(story())
    journal.close()
    return found


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_while_there_is_much_a_commit_waits_for_what_comes_next(engine: Engine) -> None:
    """However long a busy machine keeps the second one away: a longer wait then has room for it."""
    assert [1, 1, 2] in (commits_of_two(engine, gather) for gather in (0.5, 2.0, 10.0, 30.0))


class Wrong(SluisError):
    """What a work may raise."""


def _raise(_: Connection) -> None:
    raise Wrong("no")


def test_one_bad_work_takes_no_other_down(engine: Engine, journal: Journal) -> None:
    async def story() -> list[Any]:
        works = [add("a"), _raise, add("a"), add("b")]  # the third one breaks the primary key
        waiting = [asyncio.ensure_future(journal.submit(work)) for work in works]
        await asyncio.sleep(0)
        journal.start()
        return await asyncio.gather(*waiting, return_exceptions=True)

    results = asyncio.run(story())
    assert [results[0], results[3]] == ["a", "b"]
    assert isinstance(results[1], Wrong)
    assert isinstance(results[2], StoreError)
    assert keys(engine) == {"a", "b"}


def test_a_work_that_fails_leaves_nothing_of_itself(engine: Engine, journal: Journal) -> None:
    journal.start()

    def half(connection: Connection) -> None:
        add("half")(connection)
        raise Wrong("no")

    with pytest.raises(Wrong):
        journal.submit_now(half)
    assert keys(engine) == set()


def test_close_commits_what_was_submitted(engine: Engine, journal: Journal) -> None:
    async def story() -> None:
        waiting = [asyncio.ensure_future(journal.submit(add(str(number)))) for number in range(200)]
        await asyncio.sleep(0)
        journal.start()
        await asyncio.to_thread(journal.close)
        await asyncio.gather(*waiting)

    asyncio.run(story())
    assert len(keys(engine)) == 200


def test_a_closed_journal_says_so_instead_of_waiting_for_ever(journal: Journal) -> None:
    journal.start()
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.submit_now(add("late"))


def test_a_work_that_nobody_waits_for_any_more_is_not_done(engine: Engine, journal: Journal) -> None:
    async def story() -> None:
        waiting = asyncio.ensure_future(journal.submit(add("cancelled")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0)
        journal.start()
        await journal.submit(add("wanted"))

    asyncio.run(story())
    assert keys(engine) == {"wanted"}


def test_works_from_many_threads_are_all_done(engine: Engine, journal: Journal) -> None:
    journal.start()
    threads = [threading.Thread(target=journal.submit_now, args=(add(str(number)),)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(COUNTER)).scalar() == 30


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_lost_connection_is_told_and_the_next_work_gets_a_new_one(engine: Engine, journal: Journal) -> None:
    journal.start()

    def lose(connection: Connection) -> None:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StoreError):
        journal.submit_now(lose)
    journal.submit_now(add("after"))
    assert keys(engine) == {"after"}


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_disk_that_failed_under_a_commit_is_fatal_and_not_tried_again(engine: Engine) -> None:
    tries: list[str] = []
    reasons: list[str] = []

    def broken(connection: Connection) -> None:
        tries.append("work")
        failure = sqlite3.OperationalError("disk I/O error")
        failure.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise OperationalError("COMMIT", None, failure)

    journal = Journal(engine, on_fatal=reasons.append)

    async def story() -> list[Any]:
        waiting = [asyncio.ensure_future(journal.submit(work)) for work in (broken, add("beside"))]
        await asyncio.sleep(0)
        journal.start()
        return await asyncio.gather(*waiting, return_exceptions=True)

    results = asyncio.run(story())
    journal.close()
    assert all(isinstance(result, StoreError) for result in results)
    assert tries == ["work"]
    assert len(reasons) >= 1
    assert "disk I/O error" in reasons[0]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_refused_row_is_not_fatal(engine: Engine) -> None:
    reasons: list[str] = []
    journal = Journal(engine, on_fatal=reasons.append)
    journal.start()
    journal.submit_now(add("a"))
    with pytest.raises(StoreError) as refused:
        journal.submit_now(add("a"))
    journal.close()
    assert reasons == []
    assert not isinstance(refused.value, IntegrityError)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_of_two_processes_that_lock_rows_crosswise_both_come_through(engine: Engine) -> None:
    journals = [Journal(engine, batch=1) for _ in range(2)]
    both = threading.Barrier(2)
    for journal in journals:
        journal.start()
    journals[0].submit_now(lambda connection: [add(key)(connection) for key in ("a", "b")])

    def crosswise(first: str, second: str) -> Any:
        tries: list[str] = []

        def work(connection: Connection) -> int:
            tries.append(first)
            for key in (first, second):
                connection.execute(COUNTER.update().where(COUNTER.c.key == key).values(count=COUNTER.c.count + 1))
                if key == first and len(tries) == 1:
                    both.wait(20)
            return len(tries)

        return work

    async def story() -> list[int]:
        return list(await asyncio.gather(journals[0].submit(crosswise("a", "b")), journals[1].submit(crosswise("b", "a"))))

    tries = asyncio.run(story())
    assert min(tries) == 1 < max(tries), "the database undid one of them, and it was done again"
    with engine.connect() as connection:
        assert list(connection.execute(select(COUNTER.c.count)).scalars()) == [3, 3]
    for journal in journals:
        journal.close()
