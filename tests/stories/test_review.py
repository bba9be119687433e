"""The review desk: what waits for a person is released or deleted by a named person, for a reason, and inspected again before it leaves."""

import asyncio
import os
import pwd
from pathlib import Path
from typing import Any

from relay.settings.models import Store
from tests.servers.clamd import EICAR, SIGNATURES, TEST_SIGNATURE, running_clamd
from tests.servers.sink import Sink
from tests.stories.house import CLERK, PASS, house, message, until, with_attachment

LOOKED_AT = (
    PASS + "  - {name: scripts, when: {attachment: {extensions: [js]}}, then: quarantine, because: scripts are looked at}\n"
    "  - {name: virus, when: {finding: [malware]}, then: quarantine, because: a virus}\n"
)
POLICY = {"rules/pass.yaml": LOOKED_AT}
SCANNED = {**POLICY, "inspection.yaml": "outbound: [yara, type, archive, clamd]\n"}
SCRIPT = b"var plan = 'harmless';\n"


def test_released_mail_leaves_as_itself_once_for_the_chosen_recipient_only(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY) as sluis:
            raw = with_attachment("plan.js", SCRIPT)
            reply = await sluis.send(raw, to=[CLERK, "registry@court.example"])
            assert sluis.states(reply.id) == ["quarantined", "quarantined"]
            listed = (await sluis.sluis("quarantine", "list", "--json")).json
            assert sorted(row["ordinal"] for row in listed) == [0, 1]
            without = await sluis.sluis("quarantine", "release", f"{reply.id.hex}/1")
            assert (without.code, "--reason" in without.err) == (2, True)
            dry = await sluis.sluis("quarantine", "release", f"{reply.id.hex}/1", "--dry-run", "--reason", "try")
            assert "would be released" in dry.out
            said = await sluis.sluis("quarantine", "release", f"{reply.id.hex}/1", "--reason", "the registry asked for it")
            assert said.code == 0, said.err
            await sluis.until_states(reply, "quarantined", "delivered")
            (arrived,) = sink.messages
            assert arrived.envelope.addresses == ["registry@court.example"]
            assert arrived.envelope.sender == "s.devries@prosecution.example"
            assert arrived.raw.endswith(raw)
            assert arrived.raw.count(b"DKIM-Signature:") == 2
            again = await sluis.sluis("quarantine", "release", f"{reply.id.hex}/1", "--reason", "twice")
            assert again.code == 1, "it is queued once"
            deleted = await sluis.sluis("quarantine", "delete", reply.id.hex, "--reason", "not for the clerk")
            assert deleted.code == 0
            assert sluis.states(reply.id) == ["deleted", "delivered"]
            released = next(event for event in await sluis.events("release"))
            assert released["actor"] == f"unix:{_login()} ({os.geteuid()})"
            assert released["reason"] == "the registry asked for it"

    asyncio.run(story())


def test_what_was_released_is_stopped_again_by_a_new_finding(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        with running_clamd() as clamd:
            await asyncio.to_thread(clamd.reload, {"Sluis.Eicar": EICAR})
            settings = {"clamd": {"socket": str(clamd.socket), "cache_seconds": 600}}
            async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=SCANNED, settings=settings) as sluis:
                reply = await sluis.send(with_attachment("plan.js", SCRIPT + TEST_SIGNATURE))
                assert sluis.states(reply.id) == ["quarantined"]
                await asyncio.to_thread(clamd.reload, SIGNATURES)
                assert (await sluis.sluis("quarantine", "release", reply.id.hex, "--reason", "harmless")).code == 0
                await until(lambda: _found_by(sluis.rows(reply.id)[0], "clamd"), "the new finding")
                await sluis.until_states(reply, "quarantined")
                assert sink.messages == []
                shown = await sluis.sluis("quarantine", "show", reply.id.hex, "--reason", "why is it back", "--json")
                (review,) = shown.json["review"]
                assert ["malware", "clamd"] in [finding[:2] for finding in review["since_release"]["new_findings"]]
                assert set(review["since_release"]["new_rules"]) == {"malware", "virus"}
                assert review["second_person"] is True

    asyncio.run(story())


def test_malware_takes_two_people(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY) as sluis:
            reply = await sluis.send(with_attachment("tool.txt", EICAR, "text/plain"))
            assert sluis.states(reply.id) == ["quarantined"]
            asked = (await sluis.sluis("quarantine", "release", reply.id.hex, "--reason", "evidence for the lab", "--json")).json
            request = asked["changed"][0]["request"]
            assert asked["changed"][0]["request_state"] == "open"
            mine = await sluis.sluis("request", "approve", request, "--reason", "me again")
            assert (mine.code, "second person" in mine.err) == (1, True)
            assert sluis.states(reply.id) == ["quarantined"]
            assert sink.messages == []
            answer = await sluis.ask_as_nobody("request.approve", request=request, reason="the lab has asked for it")
            assert "ok" in answer, answer
            await sluis.until_states(reply, "delivered")
            (approved,) = await sluis.events("release-approved")
            assert approved["actor"].startswith("unix:nobody ")

    asyncio.run(story())


def test_the_content_is_read_under_a_name_and_for_a_reason(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY) as sluis:
            raw = with_attachment("plan.js", SCRIPT * 20_000)
            reply = await sluis.send(raw)
            target = tmp_path / "out.eml"
            said = await sluis.sluis("message", "content", reply.id.hex, str(target), "--reason", "what is in it")
            assert said.code == 0, said.err
            assert target.read_bytes() == raw
            (event,) = await sluis.events("content-read")
            assert event["reason"] == "what is in it"
            for stored in (sluis.folder / "spool").rglob("*"):
                assert stored.is_dir() or SCRIPT not in stored.read_bytes(), "nothing lies in the clear"

    asyncio.run(story())


def test_the_queue_is_steered_by_hand(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        settings = {"delivery": {"schedule": [600]}}
        async with house(tmp_path, database, settings=settings) as sluis:
            first, second = await sluis.send(message("One")), await sluis.send(message("Two"))
            await until(lambda: sluis.log().count('"event": "delivery"') == 2, "two attempts that fail")
            listed = (await sluis.sluis("queue", "list", "--state", "ready", "--json")).json
            assert {row["id"] for row in listed} == {first.id.hex, second.id.hex}
            assert (await sluis.sluis("queue", "hold", first.id.hex, "--reason", "wait")).code == 0
            assert sluis.states(first.id) == ["held"]
            nothing = await sluis.sluis("queue", "delete", "--reason", "all of it")
            assert (nothing.code, "--all" in nothing.err) == (1, True)
            assert (await sluis.sluis("queue", "delete", "--recipient", "@court.example", "--reason", "a mistake")).code == 0
            assert (sluis.states(first.id), sluis.states(second.id)) == (["deleted"], ["deleted"])
            found = (await sluis.sluis("message", "find", "--since", "1h", "--state", "deleted", "--reason", "count", "--json")).json
            assert len(found) == 2

    asyncio.run(story())


def test_with_the_relay_down_a_command_does_it_itself(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY) as sluis:
            reply = await sluis.send(with_attachment("plan.js", SCRIPT))
            assert await sluis.stop() == 0
            said = await sluis.sluis("quarantine", "release", reply.id.hex, "--reason", "while it is down")
            assert said.code == 0, said.err
            assert sluis.states(reply.id) == ["undecided"]
            await sluis.start()
            await sluis.until_states(reply, "delivered")
            assert len(sink.messages) == 1

    asyncio.run(story())


def _login() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _found_by(row: Any, inspector: str) -> bool:
    return any(item["inspector"] == inspector for item in row.m_inspection["findings"])
