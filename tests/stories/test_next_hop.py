"""The next hop goes away and comes back: nothing is lost, and what may have been sent twice is named."""

import asyncio
from pathlib import Path

from relay.settings.models import Store
from tests.servers.ports import free_port
from tests.servers.postfix import running_postfix
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import CLERK, house, message, until


def test_a_next_hop_that_is_down_is_tried_again_until_it_is_back(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        sink = Sink()
        async with house(tmp_path, database, outside=sink.port) as sluis:
            reply = await sluis.send(message())
            await until(lambda: sluis.log().count('"event": "delivery"') >= 2, "two attempts")
            assert sluis.states(reply.id) == ["ready"]
            async with sink:
                await sluis.until_states(reply, "delivered")
                assert len(sink.messages) == 1

    asyncio.run(story())


def test_a_start_picks_up_what_a_stop_left(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        port = free_port()
        async with house(tmp_path, database, outside=port) as sluis:
            replies = [await sluis.send(message(f"No {number}")) for number in range(3)]
            assert await sluis.stop() == 0
            async with running_postfix(tmp_path, domains=["court.example"], hostname="mx.court.example") as next_hop:
                sluis.write_policy({"routes.yaml": (sluis.policies / "routes.yaml").read_text().replace(str(port), str(next_hop.port))})
                await sluis.start()
                for reply in replies:
                    await sluis.until_states(reply, "delivered")
                assert len(await next_hop.wait_for_mail(3)) == 3

    asyncio.run(story())


def test_a_lost_answer_to_the_final_dot_is_named_as_a_possible_duplicate(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        behaviour = Behaviour(drop_at={"DOT"})
        async with Sink(behaviour) as sink, house(tmp_path, database, outside=sink.port) as sluis:
            reply = await sluis.send(message())
            await sink.wait_for_messages(1)
            behaviour.drop_at.clear()
            (row,) = await sluis.until_states(reply, "delivered")
            assert row.possible_duplicates >= 1
            shown = await sluis.sluis("message", "show", reply.id.hex, "--reason", "who got it twice")
            assert "possible duplicates" in shown.out

    asyncio.run(story())


def test_a_killed_relay_delivers_what_it_promised(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        behaviour = Behaviour(hang_at={"DOT"})
        settings = {"delivery": {"lease": 2}}
        async with Sink(behaviour) as sink, house(tmp_path, database, outside=sink.port, settings=settings) as sluis:
            reply = await sluis.send(message())
            await sink.wait_for_messages(1)
            await sluis.kill()
            behaviour.hang_at.clear()
            sluis.change_settings("lease = 2", "lease = 60")
            await sluis.start()
            (row,) = await sluis.until_states(reply, "delivered")
            assert row.possible_duplicates == 1, "the marked attempt without an outcome is named"

    asyncio.run(story())


def test_recipients_that_the_next_hop_defers_or_refuses_stand_alone(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        late, gone = "late@court.example", "gone@court.example"
        behaviour = Behaviour(replies={late: "450 4.2.1 busy", gone: "550 5.1.1 no such user"})
        async with (
            Sink(behaviour) as sink,
            Sink() as inside,
            house(tmp_path, database, outside=sink.port, inside=inside.port) as sluis,
        ):
            reply = await sluis.send(message(), to=[CLERK, late, gone])
            await sluis.until_states(reply, "delivered", "ready", "bounced")
            del behaviour.replies[late]
            await sluis.until_states(reply, "delivered", "delivered", "bounced")
            assert [arrived.envelope.addresses for arrived in sink.messages] == [[CLERK], [late]]
            (notice,) = await inside.wait_for_messages(1)
            assert gone.encode() in notice.raw

    asyncio.run(story())


def test_a_retry_by_hand_is_tried_now_though_the_next_hop_was_down_a_moment_ago(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        sink = Sink()
        async with house(tmp_path, database, outside=sink.port, settings={"delivery": {"schedule": [600]}}) as sluis:
            reply = await sluis.send(message())
            await until(lambda: sluis.log().count('"event": "delivery"') == 1, "the first attempt")
            await until(lambda: sluis.rows(reply.id)[0].outcome is not None, "its outcome")
            (listed,) = (await sluis.sluis("queue", "list", "--json")).json
            assert listed["queue"]["attempts"] == 1, "an attempt that reached nobody is one"
            async with sink:
                said = await sluis.sluis("queue", "retry", reply.id.hex, "--reason", "it is back")
                assert said.code == 0, said.err
                await sluis.until_states(reply, "delivered")

    asyncio.run(story())


def test_a_destination_that_rests_is_no_attempt(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        port = free_port()
        async with house(tmp_path, database, outside=port, settings={"delivery": {"schedule": [600]}}) as sluis:
            first = await sluis.send(message("One"))
            await until(lambda: sluis.rows(first.id)[0].outcome is not None, "the first outcome")
            second = await sluis.send(message("Two"))
            await until(lambda: sluis.rows(second.id)[0].outcome is not None, "the second outcome")
            assert "not tried again yet" in sluis.rows(second.id)[0].outcome["reply"]
            listed = {row["id"]: row["queue"] for row in (await sluis.sluis("queue", "list", "--json")).json}
            assert (listed[first.id.hex]["attempts"], listed[second.id.hex]["attempts"]) == (1, 0)
            kinds = [
                event["kind"] for event in (await sluis.sluis("message", "show", second.id.hex, "--reason", "t", "--json")).json["events"]
            ]
            assert "outcome" not in kinds, "nothing was tried"
            assert (await sluis.sluis("queue", "delete", "--all", "--reason", "the story ends")).code == 0

    asyncio.run(story())
