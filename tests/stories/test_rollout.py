"""Policy comes into force by two people, everywhere at once; what fails its tests never does; a folder only where the settings let it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from relay.policy.load import digest, read_files
from relay.settings.models import Store
from tests.servers.sink import Sink
from tests.stories.house import CLERK, PASS, SENDER, House, house, message, until

on_sqlite = pytest.mark.parametrize(
    "dialect", ["sqlite"], indirect=True
)  # commands, which are the same on both; what differs is told on both

APPROVED = {"policy": {"source": "approved"}}
ALONE = {**APPROVED, "control": {"two_people": False}}
WATCHED = {"policy": {"source": "watched"}}
PROCESSES = {**APPROVED, "processes": 2}
NO_HEARINGS = "  - {name: no-hearings, when: {subject_contains: [Hearing]}, then: quarantine, because: hearings are looked at}\n"
LISTED = PASS + "  - {name: stopped, when: {recipient: ['list:stopped']}, then: quarantine, because: on the list}\n"
MILD = "rules:\n  - {name: pass, then: deliver, because: ordinary mail that passes}\n"
"""Nothing becomes milder by it, but a rule changed: nobody proves that."""
TESTS = f"""\
tests:
  - name: hearings pass
    message: {{subject: Hearing}}
    envelope: {{client: mailserver, sender: {SENDER}, recipients: [{CLERK}]}}
    expect: [{{disposition: @DISPOSITION@}}]
"""
SECONDS = 2.0
"""Within which a policy is in force on all machines (issue: everywhere at once)."""


def folder(one: House) -> str:
    return digest(read_files(one.policies))


async def in_force(one: House) -> str:
    return str((await one.sluis("phase", "show", "--json")).json["policy"])


async def proposed(one: House, *words: str) -> dict[str, Any]:
    said: dict[str, Any] = (await one.sluis("policy", "propose", "--reason", "as agreed", "--json", "--without-tests", *words)).json
    return said


def expecting(disposition: str) -> dict[str, str]:
    return {"tests/hearings.yaml": TESTS.replace("@DISPOSITION@", disposition)}


def test_one_proposes_and_another_approves_and_the_next_message_is_decided_by_it(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=APPROVED) as one:
            first = await in_force(one)
            assert first == folder(one), "the first policy of an empty store is that of the folder"
            one.write_policy({"rules/pass.yaml": MILD + NO_HEARINGS, **expecting("quarantine")})
            await one.until_states(await one.send(message()), "delivered")
            asked = await proposed(one)
            assert (asked["request_state"], asked["tested"]["passed"]) == ("open", 1)
            assert asked["why_two"] == "the rule 'pass' changed"
            assert await in_force(one) == first
            await one.until_states(await one.send(message()), "delivered")
            mine = await one.sluis("policy", "approve", asked["digest"][:16], "--reason", "me again")
            assert (mine.code, "second person" in mine.err) == (1, True)
            assert await in_force(one) == first
            answer = await one.ask_as_nobody("policy.approve", version=asked["digest"][:16], reason="looked at it")
            assert answer["ok"]["policy"] == asked["digest"] == folder(one)
            reply = await one.send(message())
            (row,) = one.rows(reply.id)
            assert (row.state, row.policy) == ("quarantined", asked["digest"])
            newest, oldest = (await one.sluis("policy", "history", "--json")).json
            assert (newest["digest"], newest["state"], oldest["digest"], oldest["state"]) == (
                folder(one),
                "in force",
                first,
                "was in force",
            )
            assert newest["approver"].startswith("unix:nobody ")
            assert newest["author"] != newest["approver"]
            assert (oldest["origin"], oldest["tested"]["ran"], oldest["replay"]) == ("folder", False, None)
            flow = {"was": "deliver", "now": "quarantine", "recipients": 1}  # of the message that was delivered before it was proposed
            assert (newest["replay"]["messages"], newest["replay"]["differ"], newest["replay"]["flows"]) == (1, 1, [flow])
            (approved,) = await one.events("policy-approved")
            assert approved["actor"] == newest["approver"]
            (told,) = await one.events("policy-asked")
            assert told["details"]["two_people"] is True

    asyncio.run(story())


@on_sqlite
def test_what_fails_its_tests_or_does_not_load_is_not_even_proposed(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=ALONE) as one:
            first = await in_force(one)
            one.write_policy({"rules/pass.yaml": PASS + NO_HEARINGS, **expecting("deliver")})
            said = await one.sluis("policy", "propose", "--reason", "in a hurry")
            assert said.code == 1
            assert "tests/hearings.yaml:2: the test 'hearings pass' failed: " in said.err
            assert "expected deliver, was quarantine" in said.err
            one.write_policy({"rules/pass.yaml": "rules:\n  - {name: pass, thn: deliver, because: x}\n", **expecting("quarantine")})
            said = await one.sluis("policy", "propose", "--reason", "in a hurry")
            assert said.code == 1
            assert "rules/pass.yaml:2: unknown key 'thn' (did you mean 'then'?)" in said.err
            assert await in_force(one) == first
            assert len((await one.sluis("policy", "history", "--json")).json) == 1
            assert await one.events("policy-asked") == []

    asyncio.run(story())


@on_sqlite
def test_what_can_only_close_takes_one_person(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=APPROVED) as one:
            one.write_policy({"rules/hearings.yaml": "rules:\n" + NO_HEARINGS})
            said = await one.sluis("policy", "propose", "--without-tests", "--reason", "hearings leak")
            assert (said.code, "in force" in said.out, "only make decisions stricter" in said.out) == (0, True, True), said.err
            assert one.states((await one.send(message())).id) == ["quarantined"]
            one.write_policy({"rules/hearings.yaml": ""})
            assert (await proposed(one))["request_state"] == "open", "to take the rule away again takes two"

    asyncio.run(story())


@on_sqlite
def test_a_single_admin_mode_says_so_in_the_audit(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=ALONE) as one:
            one.write_policy({"rules/pass.yaml": MILD})
            assert (await proposed(one))["request_state"] == "done"
            assert await in_force(one) == folder(one)
            (told,) = await one.events("policy-asked")
            assert told["details"]["two_people"] is False
            assert told["details"]["why_two"] == "the rule 'pass' changed"

    asyncio.run(story())


@on_sqlite
def test_a_folder_that_was_changed_comes_into_force_by_no_restart_and_no_reload(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=APPROVED) as one:
            first = await in_force(one)
            one.write_policy({"rules/pass.yaml": MILD})
            await one.reload()
            assert await in_force(one) == first
            assert one.log().count('"policy-not-approved"') == 1
            await one.stop()
            one.write_policy({"organisation.yaml": "nothing: here\n"})
            await one.start()
            assert await in_force(one) == first
            assert one.log().count('"policy-not-approved"') == 2
            compared = (await one.sluis("policy", "diff", "--json")).json
            assert [one["file"] for one in compared["files"]] == ["organisation.yaml", "rules/pass.yaml"]
            assert (compared["one_person"], len(compared["problems"]) > 0) == (None, True)
            await _exported(one, first, tmp_path / "first")
            one.write_policy({"organisation.yaml": (tmp_path / "first" / "organisation.yaml").read_text()})
            checked = await one.sluis("check", "--json")
            assert [line for line in checked.json["warnings"] if "not the policy in force" in line and "sluis policy propose" in line]

    asyncio.run(story())


async def _exported(one: House, version: str, target: Path) -> None:
    said = await one.sluis("policy", "export", version[:12], str(target))
    assert said.code == 0, said.err
    assert digest(read_files(target)) == version


def test_a_version_of_before_comes_back_by_the_same_road(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=APPROVED) as one:
            first = await in_force(one)
            one.write_policy({"rules/pass.yaml": PASS + NO_HEARINGS})
            assert (await proposed(one))["request_state"] == "done"
            reply = await one.send(message())
            asked = (await one.sluis("policy", "rollback", first[:12], "--reason", "too strict", "--json")).json
            assert (asked["request_state"], asked["why_two"]) == ("open", "the rule 'no-hearings' went")
            answer = await one.ask_as_nobody("policy.approve", version=first, reason="looked at it")
            assert answer["ok"]["policy"] == first
            assert await in_force(one) == first
            states = [row["state"] for row in (await one.sluis("policy", "history", "--json")).json]
            assert states == ["in force", "was in force", "was in force"]
            shown = (await one.sluis("policy", "explain", reply.id.hex, "--reason", "who decided", "--json")).json
            assert shown["recipients"][0]["policy"] == folder(one), "under the version that decided it"
            again = await one.sluis("policy", "rollback", first[:12], "--reason", "again")
            assert (again.code, "in force already" in again.err) == (1, True)

    asyncio.run(story())


@on_sqlite
def test_what_was_proposed_before_something_else_came_into_force_is_not_carried_out(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=APPROVED) as one:
            one.write_policy({"rules/pass.yaml": MILD})
            late = await proposed(one)
            one.write_policy({"rules/pass.yaml": PASS + NO_HEARINGS})
            stricter = await proposed(one)
            assert stricter["request_state"] == "done"
            answer = await one.ask_as_nobody("policy.approve", version=late["digest"], reason="looked at it")
            assert "came into force since" in answer["error"]
            assert await in_force(one) == stricter["digest"]
            states = [row["state"] for row in (await one.sluis("policy", "history", "--json")).json]
            assert states == ["in force", "outdated", "was in force"]

    asyncio.run(story())


@on_sqlite
def test_a_watched_folder_comes_into_force_when_it_is_good_and_changes_nothing_when_it_is_not(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=WATCHED) as one:
            first = await in_force(one)
            one.write_policy({"rules/pass.yaml": "rules:\n  - {name: pass, thn: deliver, because: x}\n"})
            await until(lambda: one.log().count('"policy-refused"') == 1, "the bad folder to be told")
            assert await in_force(one) == first
            one.write_policy({"rules/pass.yaml": PASS + NO_HEARINGS, **expecting("deliver")})
            await until(lambda: one.log().count('"policy-refused"') == 2, "the failing test to be told")
            assert await in_force(one) == first
            await one.until_states(await one.send(message()), "delivered")
            one.write_policy(expecting("quarantine"))
            await until(lambda: "the policy folder changed" in one.log(), "the good folder to be in force")
            assert await in_force(one) == folder(one)
            assert one.states((await one.send(message())).id) == ["quarantined"]
            assert [event["result"] for event in await one.events("reload")] == ["refused", "refused", "done"]
            refused = await one.sluis("policy", "propose", "--reason", "x")
            assert (refused.code, "the policy folder says what is in force" in refused.err) == (1, True)

    asyncio.run(story())


@on_sqlite
def test_an_entry_of_a_list_is_added_and_removed_by_a_command(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        policy = {"rules/pass.yaml": LISTED, "lists/stopped.txt": "bad.example\n"}
        async with house(tmp_path, database, policy=policy, settings=APPROVED) as one:
            path = one.policies / "lists" / "stopped.txt"
            said = await one.sluis("policy", "list", "add", "stopped", CLERK.upper(), "--reason", "left the firm # so")
            assert (said.code, "in force" in said.out) == (0, True), said.err
            assert path.read_text().startswith(f"bad.example\n{CLERK}  # 20")
            assert path.read_text().endswith(": left the firm # so\n")
            assert one.states((await one.send(message())).id) == ["quarantined"]
            said = await one.sluis("policy", "list", "remove", "stopped", CLERK, "--reason", "came back")
            assert (said.code, "second person" in said.out) == (0, True), said.err
            assert one.states((await one.send(message())).id) == ["quarantined"]
            assert "ok" in await one.ask_as_nobody("policy.approve", version=folder(one), reason="so it is")
            assert f"without {CLERK}: came back" in path.read_text()
            assert "stopped" not in one.rows((await one.send(message())).id)[0].because
            before = path.read_text()
            for words, why in (
                (("add", "stopped", "*.example"), "a pattern is marked"),
                (("add", "stopped", "bad.example"), "stands there already"),
                (("remove", "stopped", "good.example"), "does not stand there"),
                (("add", "halted", "bad.example"), "no list is named 'halted'; there are stopped"),
            ):
                said = await one.sluis("policy", "list", *words, "--reason", "x")
                assert (said.code, why in said.err) == (1, True), said.err
            assert path.read_text() == before
            one.write_policy({"rules/pass.yaml": PASS, "lists/stopped.txt": before})
            said = await one.sluis("policy", "list", "add", "stopped", "worse.example", "--reason", "x")
            assert (said.code, "holds other changes" in said.err) == (1, True)

    asyncio.run(story())


def test_a_pattern_that_covers_much_of_the_mail_of_late_is_warned_about(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        policy = {"rules/pass.yaml": LISTED, "lists/stopped.txt": "bad.example\n"}
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=policy, settings=APPROVED) as one:
            for number in range(25):
                assert (await one.send(message(f"No {number}"), to=[f"somebody@{number}.partner.example"])).code == 250
            said = await one.sluis("policy", "list", "add", "stopped", "pattern: *@*.partner.example", "--reason", "all of them")
            assert said.code == 0, said.err
            assert "lists/stopped.txt: 'pattern: *@*.partner.example' covers 100 % of the last 25 recipients" in said.err
            one.write_policy({**expecting("deliver"), "rules/pass.yaml": LISTED})
            tried = await one.sluis("policy", "test")
            assert (tried.code, "covers 100 %" in tried.err) == (0, True), tried.err + tried.out

    asyncio.run(story())


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_what_is_approved_is_in_force_in_every_process_within_two_seconds(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings=PROCESSES) as one:
            one.write_policy({"rules/pass.yaml": MILD + NO_HEARINGS})
            asked = await proposed(one)
            assert "ok" in await one.ask_as_nobody("policy.approve", version=asked["digest"], reason="looked at it")
            since = time.monotonic()
            name = asked["digest"][:12]
            for process in ("deliver", "listen-1", "listen-2"):
                await until(lambda: _works_under(one, process, name), process)  # noqa: B023
            assert time.monotonic() - since < SECONDS
            assert one.states((await one.send(message())).id) == ["quarantined"]

    asyncio.run(story())


def _works_under(one: House, process: str, name: str) -> bool:
    return any(f'"process": "{process}"' in line and name in line and '"epoch changed"' in line for line in one.log().splitlines())
