"""Two people for what opens the gates (promise 9), one for what closes them; a request is about what its asker saw, and nothing else."""

import asyncio
from pathlib import Path

import pytest

from relay.control.actor import Role
from relay.model.delivery import State
from relay.settings.models import Store
from tests.stages.control.desk import MACROS, MALWARE, VIRUS, desk, policy_of

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def test_a_more_open_phase_waits_for_a_second_person(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            asked = await at.ask("anna", "phase.set", phase="partners", reason="the partners are ready")
            assert asked["request_state"] == "open"
            assert at.epoch.phase == "closed"
            (waiting,) = (await at.ask("bert", "request.list"))["rows"]
            assert (waiting["request"], waiting["actor"], waiting["kind"]) == (asked["request"], "unix:anna (1000)", "phase")
            done = await at.ask("bert", "request.approve", request=asked["request"], reason="so they are")
            assert (done["request_state"], done["phase"]) == ("done", "partners")
            assert at.epoch.phase == "partners"
            assert (await at.ask("bert", "request.list"))["rows"] == []
            assert [event["kind"] for event in at.events()] == ["phase-asked", "phase-approved", "phase"]
            assert at.events("phase-approved")[0]["details"] == {"asked_by": "unix:anna (1000)"}
            assert at.changes == 2, "whoever is in force looks again"

    asyncio.run(story())


def test_a_more_closed_phase_takes_one_person(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            asked = await at.ask("anna", "phase.set", phase="open", reason="x")
            await at.ask("bert", "request.approve", request=asked["request"], reason="x")
            assert (await at.ask("anna", "phase.set", phase="closed", reason="something is wrong"))["request_state"] == "done"
            assert at.epoch.phase == "closed"

    asyncio.run(story())


@on_sqlite
def test_whether_a_phase_opens_is_judged_by_the_store_and_not_by_what_a_process_saw(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            asked = await at.ask("anna", "phase.set", phase="open", reason="x")
            await at.ask("bert", "request.approve", request=asked["request"], reason="x")
            stale = at.epoch
            await at.ask("carla", "phase.set", phase="closed", reason="x")
            object.__setattr__(at.services, "in_force", lambda: (at.policy, stale))
            assert (await at.ask("anna", "phase.set", phase="partners", reason="x"))["request_state"] == "open"

    asyncio.run(story())


@on_sqlite
def test_the_second_person_is_another_one(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            asked = await at.ask("anna", "phase.set", phase="open", reason="x")
            said = await at.refused("anna", "request.approve", request=asked["request"], reason="me again")
            assert said == "a second person must approve: you asked for it yourself"
            assert at.epoch.phase == "closed"
            refused = await at.ask("anna", "request.refuse", request=asked["request"], reason="a mistake")
            assert refused["request_state"] == "refused", "one's own can be taken back"
            said = await at.refused("bert", "request.approve", request=asked["request"], reason="late")
            assert said == "the request is refused already"
            assert [event["kind"] for event in at.events()] == ["phase-asked", "phase-refused"]
            everything = (await at.ask("bert", "request.list", everything=True))["rows"]
            assert [row["state"] for row in everything] == ["refused"]

    asyncio.run(story())


@on_sqlite
def test_who_approves_needs_the_role_of_what_was_asked(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            at.roles = {"anna": frozenset({Role.ADMIN}), "rob": frozenset({Role.REVIEW}), "nobody": frozenset()}
            asked = await at.ask("anna", "phase.set", phase="open", reason="x")
            for answer in ("request.approve", "request.refuse"):
                said = await at.refused("rob", answer, request=asked["request"], reason="x")
                assert said == "unix:rob (1000) has not the role admin"
            assert "has not the role of anybody who works with the relay" in await at.refused("nobody", "request.list")
            assert at.epoch.phase == "closed"

    asyncio.run(story())


@on_sqlite
def test_an_operation_needs_its_role(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            at.roles = {role.value: frozenset({role}) for role in Role}
            for operation, role in (("queue.list", "review"), ("keys.rotate", "admin"), ("audit.check", "audit"), ("phase.set", "admin")):
                for other in {"review", "admin", "audit"} - {role}:
                    assert await at.refused(other, operation, reason="x") == f"unix:{other} (1000) has not the role {role}"
            for role in ("review", "admin", "audit"):
                assert (await at.ask(role, "brake.on", reason="anybody may stop it"))["brake"] is True
                await at.ask(role, "phase.show")

    asyncio.run(story())


@on_sqlite
def test_a_phase_that_was_changed_meanwhile_makes_a_request_stale(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            first = await at.ask("anna", "phase.set", phase="partners", reason="x")
            second = await at.ask("carla", "phase.set", phase="partners", reason="the same")
            await at.ask("bert", "request.approve", request=first["request"], reason="x")
            await at.ask("bert", "phase.set", phase="closed", reason="back, and so the phase is what it was")
            said = await at.refused("bert", "request.approve", request=second["request"], reason="x")
            assert said.startswith("the phase was changed since this was asked, it is closed now")
            assert at.epoch.phase == "closed"
            await at.ask("carla", "request.refuse", request=second["request"], reason="stale")

    asyncio.run(story())


@on_sqlite
def test_a_phase_that_the_policy_has_no_more_is_not_set(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            asked = await at.ask("anna", "phase.set", phase="partners", reason="x")
            at.policy = policy_of(["closed", "open"])
            said = await at.refused("bert", "request.approve", request=asked["request"], reason="x")
            assert said.startswith("no phase is named 'partners' any more")
            assert (
                await at.refused("anna", "phase.set", phase="partners", reason="x")
                == "no phase is named 'partners'; there are closed, open"
            )
            assert await at.refused("anna", "phase.set", phase="closed", reason="x") == "the phase is closed already"

    asyncio.run(story())


def test_one_pulls_the_brake_and_two_let_it_go(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            assert await at.refused("anna", "brake.off", reason="x") == "the brake is off already"
            assert (await at.ask("anna", "brake.on", reason="smoke"))["changed"] is True
            assert (await at.ask("bert", "brake.on", reason="fire"))["changed"] is False, "it was on already"
            shown = await at.ask("carla", "phase.show")
            assert (shown["brake"], shown["brake_reason"]) == (True, "smoke")
            asked = await at.ask("anna", "brake.off", reason="the smoke is gone")
            assert (await at.ask("bert", "phase.show"))["brake"] is True
            await at.ask("bert", "request.approve", request=asked["request"], reason="so it is")
            assert (await at.ask("bert", "phase.show"))["brake"] is False
            assert [event["result"] for event in at.events("brake")] == ["on", "off"]

    asyncio.run(story())


@on_sqlite
def test_letting_go_is_about_the_reason_of_then(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            await at.ask("anna", "brake.on", reason="smoke")
            first = await at.ask("anna", "brake.off", reason="the smoke is gone")
            second = await at.ask("carla", "brake.off", reason="the smoke is gone")
            await at.ask("bert", "request.approve", request=first["request"], reason="x")
            said = await at.refused("bert", "request.approve", request=second["request"], reason="x")
            assert said.startswith("the brake was let go since this was asked, it is off now")
            await at.ask("dora", "brake.on", reason="malware is leaving")
            said = await at.refused("bert", "request.approve", request=second["request"], reason="x")
            assert "it is on for another reason: malware is leaving" in said
            assert at.epoch.brake

    asyncio.run(story())


@on_sqlite
def test_a_single_admin_needs_no_second_person_and_each_event_says_so(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database, two_people=False) as at:
            assert (await at.ask("anna", "phase.set", phase="open", reason="x"))["request_state"] == "done"
            await at.ask("anna", "brake.on", reason="x")
            await at.ask("anna", "brake.off", reason="x")
            message = at.put(State.QUARANTINED, findings=[VIRUS], rules=[MALWARE])
            await at.ask("anna", "quarantine.release", reason="x", filters={"ids": [message.hex]})
            assert (at.epoch.phase, at.epoch.brake, at.states(message)) == ("open", False, ["undecided"])
            asked = at.events("phase-asked", "brake-asked", "release-asked")
            assert [(event["result"], event["details"]["two_people"]) for event in asked] == [("done", False)] * 3

    asyncio.run(story())


@on_sqlite
def test_with_two_people_each_event_says_that(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, State.QUARANTINED, rules=[MACROS])
            await at.ask("anna", "quarantine.release", reason="x", filters={"ids": [f"{message.hex}/0"]})
            (event,) = at.events("release-asked")
            assert (event["result"], event["details"]["two_people"]) == ("done", True), "no final rule: one person is enough"

    asyncio.run(story())
