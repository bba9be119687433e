"""Who waits longest for a worker is served first, whoever asks meanwhile."""

import asyncio

from relay.inspect.idle import Idle


async def turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def test_what_is_put_is_taken_in_order() -> None:
    async def story() -> None:
        idle: Idle[int] = Idle()
        idle.put(1)
        idle.put(2)
        assert len(idle) == 2
        assert [await idle.take(), await idle.take()] == [1, 2]
        assert len(idle) == 0

    asyncio.run(story())


def test_who_asks_between_a_put_and_the_turn_of_the_one_who_waits_is_behind_all_who_wait() -> None:
    async def story() -> None:
        idle: Idle[int] = Idle()
        served: list[str] = []

        async def ask(name: str) -> None:
            await idle.take()
            served.append(name)

        waiting = [asyncio.create_task(ask(name)) for name in ("first", "second")]
        await turns()
        late = asyncio.create_task(ask("late"))  # runs before whoever the next line wakes
        idle.put(1)
        await turns()
        assert served == ["first"]
        idle.put(2)
        idle.put(3)
        await asyncio.gather(*waiting, late)
        assert served == ["first", "second", "late"]

    asyncio.run(story())


def test_who_gives_up_leaves_its_place_or_what_it_was_given_to_the_next() -> None:
    async def story() -> None:
        idle: Idle[int] = Idle()
        gone, given, last = (asyncio.create_task(idle.take()) for _ in range(3))
        await turns()
        gone.cancel()
        await turns()
        idle.put(1)
        given.cancel()  # it has been given, and has not had its turn
        await turns()
        assert (given.cancelled(), await last) == (True, 1)

    asyncio.run(story())


def test_what_nobody_wants_any_more_is_kept() -> None:
    async def story() -> None:
        idle: Idle[int] = Idle()
        only = asyncio.create_task(idle.take())
        await turns()
        idle.put(1)
        only.cancel()
        await turns()
        assert len(idle) == 1

    asyncio.run(story())


def test_who_gives_up_in_the_moment_in_which_one_is_put_has_given_up_and_it_is_kept() -> None:
    async def story() -> None:
        idle: Idle[int] = Idle()
        only = asyncio.create_task(idle.take())
        await turns()
        only.cancel()  # its turn is cancelled at once, and it learns of that later
        idle.put(1)
        await turns()
        assert (only.cancelled(), len(idle)) == (True, 1)

    asyncio.run(story())
