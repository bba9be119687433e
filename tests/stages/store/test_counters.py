"""Rate counters: leased in blocks, so that no message updates a row of its own, and never above the limit."""

import asyncio
from typing import Any

from sqlalchemy import select

from relay.store.counters import SHARE, Counters
from relay.store.journal import Journal
from relay.store.tables import Counter
from tests.servers.recording import Recording

COUNTER = Counter.__table__  # type: ignore[attr-defined]
HOUR_US = 3_600_000_000
NOW_US = 1_000 * HOUR_US + 5


def leased(recording: Recording) -> list[Any]:
    with recording.engine.connect() as connection:
        return list(connection.execute(select(COUNTER.c.window_us, COUNTER.c.count).order_by(COUNTER.c.window_us)))


async def take_many(counters: Counters, times: int, limit: int, now_us: int = NOW_US, amount: int = 1) -> int:
    """How many of `times` were granted."""
    return sum([await counters.take("client", "exchange", HOUR_US, limit, amount, now_us) for _ in range(times)])


def test_exactly_the_limit_is_granted_in_a_window(recording: Recording) -> None:
    assert asyncio.run(take_many(Counters(recording.journal), 120, 100)) == 100


def test_the_next_window_begins_afresh(recording: Recording) -> None:
    counters = Counters(recording.journal)
    assert asyncio.run(take_many(counters, 120, 100)) == 100
    assert asyncio.run(take_many(counters, 120, 100, NOW_US + HOUR_US)) == 100


def test_a_block_costs_one_commit_and_not_one_for_each_message(recording: Recording) -> None:
    before = recording.journal.works
    asyncio.run(take_many(Counters(recording.journal), 1600, 1600))
    assert recording.journal.works - before <= SHARE + 1


def test_two_processes_together_do_not_pass_the_limit(recording: Recording) -> None:
    other = Journal(recording.engine)
    other.start()
    one, two = Counters(recording.journal), Counters(other)

    async def story() -> int:
        return sum([await take_many(counters, 10, 100) for _ in range(20) for counters in (one, two)])

    assert asyncio.run(story()) == 100
    other.close()


def test_what_is_asked_for_at_once_is_granted_once(recording: Recording) -> None:
    counters = Counters(recording.journal)

    async def story() -> int:
        asked = [counters.take("client", "exchange", HOUR_US, 100, 1, NOW_US) for _ in range(300)]
        return sum(await asyncio.gather(*asked))

    assert asyncio.run(story()) == 100
    assert leased(recording)[0].count == 100


def test_an_amount_above_what_is_left_takes_nothing(recording: Recording) -> None:
    counters = Counters(recording.journal)

    async def story() -> list[bool]:
        return [await counters.take("client", "exchange", HOUR_US, 10, amount, NOW_US) for amount in (8, 3, 2, 1, 11)]

    assert asyncio.run(story()) == [True, False, True, False, False]


def test_keys_and_scopes_do_not_share_their_limit(recording: Recording) -> None:
    counters = Counters(recording.journal)

    async def story() -> list[bool]:
        wanted = [("client", "a"), ("client", "b"), ("sender", "a"), ("client", "a")]
        return [await counters.take(scope, key, HOUR_US, 1, 1, NOW_US) for scope, key in wanted]

    assert asyncio.run(story()) == [True, True, True, False]


def test_a_restart_counts_what_was_leased_as_used(recording: Recording) -> None:
    asyncio.run(take_many(Counters(recording.journal), 1, 160))
    assert asyncio.run(take_many(Counters(recording.journal), 200, 160)) == 150


def test_old_windows_are_forgotten_and_the_present_one_is_not(recording: Recording) -> None:
    counters = Counters(recording.journal)

    async def story() -> int:
        await take_many(counters, 1, 100, NOW_US - 3 * HOUR_US)
        await take_many(counters, 60, 100)
        await counters.flush(NOW_US - HOUR_US)
        return await take_many(counters, 100, 100)

    assert asyncio.run(story()) == 40
    assert [row.window_us for row in leased(recording)] == [1_000 * HOUR_US]


def test_two_machines_that_begin_a_window_at_the_same_moment_both_count(recording: Recording) -> None:
    journals = [Journal(recording.engine) for _ in range(4)]
    for journal in journals:
        journal.start()

    async def story() -> int:
        taken = [
            counters.take("client", f"exchange {number}", HOUR_US, 2, 1, NOW_US)
            for number in range(25)
            for counters in map(Counters, journals)
        ]
        return sum(await asyncio.gather(*taken))

    assert asyncio.run(story()) == 50
    for journal in journals:
        journal.close()


def test_many_that_ask_first_at_the_same_moment_take_one_block(recording: Recording) -> None:
    """Else a busy start takes the whole limit, and a restart finds nothing left."""
    counters = Counters(recording.journal)

    async def story() -> None:
        assert all(await asyncio.gather(*(counters.take("client", "exchange", HOUR_US, 1600, 1, NOW_US) for _ in range(50))))

    asyncio.run(story())
    assert [row.count for row in leased(recording)] == [1600 // SHARE]


def test_a_process_that_stops_gives_back_what_it_did_not_use(recording: Recording) -> None:
    async def story() -> int:
        total = 0
        for _ in range(40):
            counters = Counters(recording.journal)
            total += await take_many(counters, 2, 100)
            await counters.give_back()
        return total

    assert asyncio.run(story()) == 80
    assert [row.count for row in leased(recording)] == [80]
