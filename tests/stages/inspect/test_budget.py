"""Large messages share a budget of octets; small ones never wait for it."""

import asyncio

from relay.inspect.budget import SMALL, ByteBudget

MB = 1024 * 1024


def taking(budget: ByteBudget, *sizes: int) -> list[asyncio.Task[None]]:
    return [asyncio.get_running_loop().create_task(budget.take(size)) for size in sizes]


async def done(tasks: list[asyncio.Task[None]]) -> list[bool]:
    for _ in range(4):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


def test_large_messages_wait_until_there_is_room_in_the_order_they_came() -> None:
    async def story() -> None:
        budget = ByteBudget(10 * MB)
        tasks = taking(budget, 6 * MB, 5 * MB, 2 * MB)
        assert await done(tasks) == [True, False, False]
        budget.give(6 * MB)
        assert await done(tasks) == [True, True, True]
        assert budget.in_flight == 7 * MB

    asyncio.run(story())


def test_a_message_larger_than_the_budget_is_inspected_alone() -> None:
    async def story() -> None:
        budget = ByteBudget(10 * MB)
        tasks = taking(budget, 2 * MB, 50 * MB, 2 * MB)
        assert await done(tasks) == [True, False, False]
        budget.give(2 * MB)
        assert await done(tasks) == [True, True, False]
        budget.give(50 * MB)
        assert await done(tasks) == [True, True, True]

    asyncio.run(story())


def test_a_small_message_never_waits_behind_large_ones() -> None:
    async def story() -> None:
        budget = ByteBudget(10 * MB)
        assert await done(taking(budget, 50 * MB, 50 * MB, SMALL)) == [True, False, True]
        budget.give(SMALL)
        assert budget.in_flight == 50 * MB

    asyncio.run(story())


def test_who_goes_away_while_waiting_or_at_its_turn_leaves_the_room_to_the_next() -> None:
    async def story() -> None:
        budget = ByteBudget(10 * MB)
        first, waiting, called, last = taking(budget, 6 * MB, 9 * MB, 9 * MB, 9 * MB)
        assert await done([first, waiting]) == [True, False]
        waiting.cancel()
        assert await done([waiting, called]) == [True, False]
        budget.give(6 * MB)
        called.cancel()  # its turn came, and it did not run any more
        assert await done([called, last]) == [True, True]
        assert (called.cancelled(), last.cancelled()) == (True, False)
        budget.give(9 * MB)
        assert budget.in_flight == 0

    asyncio.run(story())


def test_who_gives_up_in_the_moment_in_which_there_is_room_has_given_up_and_the_room_is_left() -> None:
    async def story() -> None:
        budget = ByteBudget(10 * MB)
        first, waiting = taking(budget, 9 * MB, 9 * MB)
        assert await done([first, waiting]) == [True, False]
        waiting.cancel()
        budget.give(9 * MB)
        await done([waiting])
        assert (waiting.cancelled(), budget.in_flight) == (True, 0)

    asyncio.run(story())
