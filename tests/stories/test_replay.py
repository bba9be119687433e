"""Replay over what a relay really did: delivered, deferred, held, quarantined, refused, released, under the brake and after a change of
phase. Unchanged policy shows no difference; a changed one is told, while the relay runs and when it is down."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from relay.settings.models import Store
from tests.servers.sink import Sink
from tests.stories.house import CLERK, PASS, House, house, message, with_attachment

on_sqlite = pytest.mark.parametrize(
    "dialect", ["sqlite"], indirect=True
)  # commands, which are the same on both; what differs is told on both

POLICY = {
    "rules/pass.yaml": PASS + "  - {name: shut, when: {phase: [closed]}, then: hold, because: closed}\n"
    "  - {name: scripts, when: {attachment: {extensions: [js]}}, then: quarantine, because: scripts are looked at}\n"
    "  - {name: refused, when: {subject_contains: [lottery]}, then: reject, because: no lotteries}\n"
    "  - {name: trial, when: {subject_contains: [Hearing]}, then: quarantine, because: on trial, mode: observe}\n"
}
STRICTER = POLICY["rules/pass.yaml"].replace("because: on trial, mode: observe", "because: on trial")
ONE_PERSON = {"control": {"two_people": False}}
REASON = ("--reason", "a test")


async def replayed(sluis: House, *words: str) -> Any:
    return (await sluis.sluis("policy", "replay", "--processes", "1", "--json", *words)).json


async def said(sluis: House, *words: str) -> None:
    answer = await sluis.sluis(*words, *REASON)
    assert answer.code == 0, answer.err


async def a_day_of_mail(sluis: House) -> None:
    """Every end that a message can come to."""
    delivered = await sluis.send(message("Hearing"), to=[CLERK, "registry@court.example"])
    await sluis.until_states(delivered, "delivered", "delivered")
    two = await sluis.send(with_attachment("plan.js", b"var a;\n" * 50), to=[CLERK, "registry@court.example"])
    await said(sluis, "quarantine", "release", f"{two.id.hex}/1")
    await sluis.until_states(two, "quarantined", "delivered")
    assert (await sluis.send(message("You won the lottery"))).code == 550
    await said(sluis, "phase", "set", "closed")
    held = await sluis.send(message("In the dark"))
    still = await sluis.send(with_attachment("more.js", b"var b;\n" * 50))
    assert (sluis.states(held.id), sluis.states(still.id)) == (["held"], ["quarantined"])
    await said(sluis, "phase", "set", "open")
    await sluis.until_states(held, "delivered")
    await said(sluis, "brake", "pull")
    braked = await sluis.send(message("Under the brake"))
    assert sluis.states(braked.id) == ["held"]


def test_an_unchanged_policy_shows_no_difference_and_a_changed_one_does(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY, settings=ONE_PERSON) as sluis:
            await a_day_of_mail(sluis)
            told = await replayed(sluis)
            assert (told["differ"], told["not_known"], told["routes"], told["unanswered"]) == (0, 0, [], []), told
            assert (told["messages"], told["recipients"]) == (6, 8)
            assert {(flow["was"], flow["recipients"]) for flow in told["flows"]} == {
                ("deliver", 4),
                ("hold", 1),
                ("quarantine", 2),
                ("reject", 1),
            }
            assert told["observed"] == [{"rule": "trial", "would": "quarantine", "now": "deliver", "recipients": 2}]
            assert {one["rule"]: (one["matched"], one["matches"]) for one in told["rules"]}["shut"] == (1, 1)

            sluis.write_policy({"rules/pass.yaml": STRICTER})
            told = await replayed(sluis, "--since", "1d")
            assert [(one["rule"], one["how"], one["recipients"]) for one in told["changes"]] == [("trial", "matches now", 2)]
            assert told["differ"] == 2, "what is in force has not changed: only the working copy has"
            version = sluis.rows()[0].policy
            assert (await replayed(sluis, "--version", version[:12]))["differ"] == 0
            assert (await replayed(sluis, "--until", "1d"))["messages"] == 0
            await sluis.stop()
            assert (await replayed(sluis))["differ"] == 2, "with the relay down, too"
            await sluis.start()

    asyncio.run(story())


@on_sqlite
def test_replay_for_people_in_several_processes_and_a_report(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY, settings=ONE_PERSON) as sluis:
            reply = await sluis.send(message("Hearing"))
            await sluis.until_states(reply, "delivered")
            sluis.write_policy({"rules/pass.yaml": STRICTER})
            report = tmp_path / "report.html"
            answer = await sluis.sluis("policy", "replay", "--html", str(report), "--processes", "2")
            assert answer.code == 0, answer.err
            assert "trial matches now, deliver would be quarantine:" in answer.out
            assert f"{reply.id.hex}/0" in answer.out
            assert CLERK not in answer.out + report.read_text()
            assert "Only what differs" not in report.read_text(), "all of it differs"
            assert await sluis.events("message-search") == [], "nothing that is somebody's was shown"
            named = await sluis.sluis("policy", "replay", "--html", str(report), "--rule", "trial", "--reason", "the trial ends")
            assert CLERK in named.out
            assert CLERK in report.read_text()
            assert report.stat().st_mode & 0o777 == 0o600
            (event,) = await sluis.events("message-search")
            assert (event["result"], event["reason"]) == ("replayed", "the trial ends")

    asyncio.run(story())


@on_sqlite
def test_what_an_observed_rule_would_have_done_is_shown_with_the_message_and_counted(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY) as sluis:
            reply = await sluis.send(message("Hearing"))
            (row,) = await sluis.until_states(reply, "delivered")
            assert [match["rule"] for match in row.rules] == ["pass"]
            shown = await sluis.sluis("message", "show", reply.id.hex, *REASON)
            assert "observed rule trial would have said quarantine: on trial" in shown.out
            journey = (await sluis.sluis("message", "show", reply.id.hex, "--json", *REASON)).json
            assert journey["deliveries"][0]["observed"] == [{"rule": "trial", "disposition": "quarantine", "because": "on trial"}]
            explained = (await sluis.sluis("policy", "explain", reply.id.hex, "--json", *REASON)).json
            assert [one["rule"] for one in explained["recipients"][0]["observed"]] == ["trial"]
            found = (await sluis.sluis("message", "find", "--rule", "trial", "--json", *REASON)).json
            assert found == [], "it matched nothing"

    asyncio.run(story())


@on_sqlite
def test_what_can_not_be_done_is_said(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, started=False) as sluis:
            await sluis.start()
            for words, problem in (
                (("--phase", "ajar"), "no phase is named 'ajar'"),
                (("--version", "ffff"), "begins the digest of no policy"),
                (("--since", "1d", "--until", "2d"), "--since must be before --until"),
                (("--since", "yesterday"), "is no time"),
            ):
                answer = await sluis.sluis("policy", "replay", *words)
                assert answer.code != 0
                assert problem in answer.err, answer.err
            sluis.write_policy({"rules/pass.yaml": "rules: [{name: x}]\n"})
            wrong = await sluis.sluis("policy", "replay")
            assert (wrong.code, "pass.yaml:1" in wrong.err) == (1, True)
            sluis.write_policy({"rules/pass.yaml": PASS})
            assert json.loads((await sluis.sluis("policy", "replay", "--json")).out)["messages"] == 0

    asyncio.run(story())
