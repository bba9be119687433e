"""A decision is valid for one epoch: whoever claims a delivery of an older policy, phase or brake decides again first."""

import asyncio
from pathlib import Path

from relay.settings.models import Store
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import CLERK, PASS, house, message, until

STRICTER = PASS + "  - {name: no-hearings, when: {subject_contains: [Hearing]}, then: quarantine, because: hearings are looked at}\n"
PHASES = PASS + "  - {name: shut, when: {phase: [closed]}, then: hold, because: closed}\n"
LATER = {"delivery": {"schedule": [600]}}
"""Nothing is tried again by itself while the story runs."""


def test_policy_that_changed_while_mail_was_queued_decides_again(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        behaviour = Behaviour(replies={"RCPT": "450 4.2.0 greylisted"})
        async with Sink(behaviour) as sink, house(tmp_path, database, outside=sink.port, settings=LATER) as sluis:
            reply = await sluis.send(message())
            await until(lambda: sluis.rows(reply.id)[0].attempts == 1 or "delivery" in sluis.log(), "the first attempt")
            behaviour.replies.clear()
            sluis.write_policy({"rules/pass.yaml": STRICTER})
            await sluis.reload()
            said = await sluis.sluis("queue", "retry", reply.id.hex, "--reason", "the other side is back")
            assert said.code == 0, said.err
            (row,) = await sluis.until_states(reply, "quarantined")
            assert [match["rule"] for match in row.rules if match["disposition"] == "quarantine"] == ["no-hearings"]
            assert sink.messages == []
            kinds = [
                event["kind"] for event in (await sluis.sluis("message", "show", reply.id.hex, "--reason", "t", "--json")).json["events"]
            ]
            assert kinds[0] == "accepted"
            assert "decided" in kinds

    asyncio.run(story())


def test_what_a_phase_held_comes_back_when_the_phase_opens(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        settings = {"control": {"two_people": False}}
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": PHASES}, settings=settings) as sluis,
        ):
            said = await sluis.sluis("phase", "set", "closed", "--reason", "a break-in")
            assert said.code == 0, said.err
            replies = [await sluis.send(message(f"No {number}")) for number in range(3)]
            assert [sluis.states(reply.id) for reply in replies] == [["held"]] * 3
            assert sink.messages == []
            said = await sluis.sluis("phase", "set", "open", "--reason", "all clear")
            assert said.code == 0, said.err
            for reply in replies:
                await sluis.until_states(reply, "delivered")
            assert len(sink.messages) == 3

    asyncio.run(story())


def test_under_the_brake_mail_is_taken_and_nothing_leaves(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        settings = {"control": {"two_people": False}}
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=settings) as sluis:
            assert (await sluis.sluis("brake", "pull", "--reason", "something leaks")).code == 0
            reply = await sluis.send(message())
            assert (reply.code, sluis.states(reply.id)) == (250, ["held"])
            released = await sluis.sluis("queue", "unhold", reply.id.hex, "--reason", "in a hurry")
            assert released.code == 0
            assert (await sluis.sluis("phase", "show", "--json")).json["brake"] is True
            assert sink.connections == 0
            assert (await sluis.sluis("brake", "release", "--reason", "the leak is closed")).code == 0
            await sluis.until_states(reply, "delivered")

    asyncio.run(story())


def test_what_is_amid_its_data_when_the_brake_falls_is_dropped_before_the_final_dot(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        async with Sink(Behaviour(gates={"DATA": gate})) as sink, house(tmp_path, database, outside=sink.port) as sluis:
            reply = await sluis.send(message())
            await until(lambda: "DATA" in sink.commands, "the delivery to reach DATA")
            assert (await sluis.sluis("brake", "pull", "--reason", "stop")).code == 0
            gate.set()
            await until(lambda: sink.open_connections == 0, "the connection to be dropped")
            assert sink.messages == []
            assert sluis.states(reply.id) == ["ready"]

    asyncio.run(story())


def test_one_person_closes_and_two_open(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": PHASES}) as sluis:
            asked = (await sluis.sluis("phase", "set", "wide", "--reason", "let us open", "--json")).json
            assert asked["request_state"] == "open"
            again = await sluis.sluis("request", "approve", asked["request"], "--reason", "I agree with myself")
            assert again.code == 1
            assert "second person" in again.err
            assert (await sluis.sluis("phase", "show", "--json")).json["phase"] == "open"
            assert (await sluis.sluis("brake", "pull", "--reason", "one is enough")).code == 0

    asyncio.run(story())


def test_a_bad_policy_leaves_the_old_in_force_and_says_so(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            before = (await sluis.sluis("phase", "show", "--json")).json["policy"]
            sluis.write_policy({"rules/more.yaml": "rules:\n  - {name: x, then: reject, becuase: a typo}\n"})
            await sluis.reload(says='"alert": "reload-refused"')
            assert "unknown key 'becuase' (did you mean 'because'?)" in sluis.log()
            assert (await sluis.sluis("phase", "show", "--json")).json["policy"] == before
            await sluis.until_states(await sluis.send(message(), to=[CLERK]), "delivered")
            assert "more.yaml:2" in (await sluis.events("reload"))[0]["reason"]
            sluis.write_policy({"rules/more.yaml": ""})

    asyncio.run(story())


def test_what_was_held_is_decided_again_by_a_policy_that_changed_while_the_relay_was_down(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        shut = "rules:\n  - {name: shut, then: hold, because: closed}\n"
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": shut}) as sluis:
            reply = await sluis.send(message())
            assert sluis.states(reply.id) == ["held"]
            assert await sluis.stop() == 0
            sluis.write_policy({"rules/pass.yaml": PASS})
            await sluis.start()
            await sluis.until_states(reply, "delivered")
            assert len(sink.messages) == 1

    asyncio.run(story())
