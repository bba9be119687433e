"""The desk: a release is bound to the findings and rules that were seen, for the chosen recipient only; the relay decides again."""

import asyncio
from pathlib import Path

import pytest

from relay.model.delivery import State
from relay.model.errors import OperationRefused
from relay.model.finding import Finding, Kind
from relay.settings.models import Store
from relay.store import states
from tests.stages.control.desk import MACRO, MACROS, MALWARE, VIRUS, desk, rule

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def test_a_release_is_of_the_chosen_recipient_only_and_bound_to_what_was_seen(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, State.QUARANTINED, findings=[MACRO], rules=[MACROS])
            await at.ask("anna", "quarantine.release", reason="a template of ours", filters={"ids": [f"{message.hex}/1"]})
            kept, released = at.rows(message)
            assert (kept.state, kept.release) == ("quarantined", None)
            assert released.state == "undecided", "the road inspects and decides again before anything leaves"
            assert released.release["findings"] == [["rule", "yara", "office-macro", "1.2"]]
            assert released.release["rules"] == ["macros"]
            assert released.release["approved"] is False, "a final rule that comes up later is not covered"
            (entry,) = at.queue(message)
            assert (entry.ordinal, entry.route) == (1, "")

    asyncio.run(story())


def test_what_a_final_rule_stopped_waits_for_a_second_person(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, findings=[VIRUS], rules=[MALWARE])
            answer = await at.ask("anna", "quarantine.release", reason="for the lab", filters={"ids": [message.hex]})
            (row,) = answer["changed"]
            assert row["request_state"] == "open"
            assert at.states(message) == ["quarantined"]
            assert at.events("release")[0]["result"] == "waits for a second person", "the audit does not say that it was released"
            twice = await at.ask("carla", "quarantine.release", reason="for the lab", filters={"ids": [message.hex]})
            assert twice["changed"] == []
            assert twice["refused"][0]["error"].startswith("unix:anna (1000) has asked for it already, approve or refuse that: request ")
            await at.ask("bert", "request.approve", request=row["request"], reason="the lab says so")
            assert at.states(message) == ["undecided"]
            assert at.rows(message)[0].release["approved"] is True

    asyncio.run(story())


@on_sqlite
@pytest.mark.parametrize(
    ("rules", "second"),
    [
        ([MACROS], False),
        ([MALWARE], True),
        ([MACROS, MALWARE], True),
        ([{**MALWARE, "waived_by": "a waiver"}, MACROS], False),
        ([rule("no-rule", "hold", final=True)], False),
        ([MACROS, rule("brake", "hold", final=True)], False),
        ([rule("pass", "deliver", final=True), MACROS], False),
    ],
    ids=lambda value: "+".join(item["rule"] for item in value) if isinstance(value, list) else str(value),
)
def test_two_people_are_needed_where_a_final_rule_judged_the_message(
    tmp_path: Path, database: Store, rules: list[dict[str, object]], second: bool
) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, rules=rules)
            shown = await at.ask("anna", "quarantine.show", id=message.hex, reason="look")
            assert shown["review"][0]["second_person"] is second
            answer = await at.ask("anna", "quarantine.release", reason="x", filters={"ids": [message.hex]})
            assert answer["changed"][0]["request_state"] == ("open" if second else "done")

    asyncio.run(story())


@on_sqlite
@pytest.mark.parametrize("change", ["finding", "rule", "gone"])
def test_a_request_is_stale_where_the_message_is_not_what_was_seen(tmp_path: Path, database: Store, change: str) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, findings=[VIRUS], rules=[MALWARE])
            asked = await at.ask("anna", "quarantine.release", reason="x", filters={"ids": [message.hex]})
            if change == "finding":
                at.inspected_again(message, [VIRUS, Finding(Kind.MALWARE, "clamd", "Another", "1.3")], [MALWARE])
                expected = "it was stopped by something else since this was asked"
            elif change == "rule":
                at.inspected_again(message, [VIRUS], [MALWARE, rule("embargo", "quarantine")])
                expected = "it was stopped by something else since this was asked"
            else:
                await at.ask("carla", "quarantine.delete", reason="x", filters={"ids": [message.hex]})
                expected = "it is deleted now"
            before = at.states(message)
            said = await at.refused("bert", "request.approve", request=asked["changed"][0]["request"], reason="x")
            assert said.startswith(expected)
            assert at.states(message) == before
            assert at.events("release-approved") == [], "what was not carried out was not approved"
            await at.ask("anna", "request.refuse", request=asked["changed"][0]["request"], reason="as it says")

    asyncio.run(story())


@on_sqlite
def test_fewer_findings_than_were_seen_are_no_reason_to_ask_again(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, findings=[VIRUS, MACRO], rules=[MALWARE, MACROS])
            asked = await at.ask("anna", "quarantine.release", reason="x", filters={"ids": [message.hex]})
            at.inspected_again(message, [VIRUS], [MALWARE])
            await at.ask("bert", "request.approve", request=asked["changed"][0]["request"], reason="x")
            assert at.states(message) == ["undecided"]

    asyncio.run(story())


def test_what_is_new_since_it_was_released_is_shown(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, findings=[MACRO], rules=[MACROS])
            shown = await at.ask("anna", "quarantine.show", id=message.hex, reason="look")
            assert shown["review"][0]["since_release"] is None, "it never was released"
            await at.ask("anna", "quarantine.release", reason="x", filters={"ids": [message.hex]})
            at.write(lambda connection: states.move(connection, message, 0, State.QUARANTINED, 1))
            at.inspected_again(message, [VIRUS], [MALWARE])
            (review,) = (await at.ask("anna", "quarantine.show", id=message.hex, reason="why is it back"))["review"]
            assert review["since_release"] == {
                "new_findings": [["malware", "clamd", "Eicar-Test-Signature", "1.2"]],
                "new_rules": ["malware"],
                "gone_findings": [["rule", "yara", "office-macro", "1.2"]],
            }
            assert review["second_person"] is True

    asyncio.run(story())


@on_sqlite
def test_who_looked_at_what_and_why_is_in_the_audit_before_it_is_shown(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, rules=[MACROS])
            await at.ask("anna", "quarantine.list")
            (event,) = at.events("list-read")
            assert (event["object"], event["actor"], event["reason"]) == ("quarantine", "unix:anna (1000)", "work list")
            with pytest.raises(OperationRefused, match="reason"):
                await at.ask("anna", "quarantine.list", filters={"sender": "jan@example.nl"})
            shown = await at.ask("anna", "quarantine.show", id=message.hex, reason="the clerk called")
            (event,) = at.events("message-read")
            assert (event["object"], event["actor"], event["reason"]) == (f"message {message.hex}", "unix:anna (1000)", "the clerk called")
            assert [entry["kind"] for entry in shown["events"]] == [], "the journey is that of before"

    asyncio.run(story())


@on_sqlite
def test_what_is_not_quarantined_is_neither_listed_nor_released(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.HELD, State.DELIVERED, State.READY, State.UNDELIVERABLE)
            assert (await at.ask("anna", "quarantine.list"))["rows"] == []
            for operation in ("quarantine.release", "quarantine.delete"):
                said = await at.refused("anna", operation, reason="x", filters={"ids": [message.hex]})
                assert said == "none of these is quarantined"

    asyncio.run(story())


def test_what_could_not_be_signed_is_released_only_by_saying_so(tmp_path: Path, database: Store) -> None:
    """Released mail leaves DKIM-signed (promise 6); a header that can be read in two ways can't be."""

    async def story() -> None:
        async with desk(tmp_path, database) as at:
            bad = [Finding(Kind.AMBIGUOUS, "reader", "header-syntax")]
            message = at.put(State.QUARANTINED, rules=[MACROS], findings=bad)
            ids = {"ids": [message.hex]}
            refused = await at.ask("anna", "quarantine.release", filters=ids, reason="harmless")
            assert "--unsigned" in refused["refused"][0]["error"]
            released = await at.ask("anna", "quarantine.release", filters=ids, reason="harmless", unsigned=True)
            assert released["changed"][0]["to_state"] == "undecided"

    asyncio.run(story())


def test_evidence_is_never_released_and_deleted_only_when_an_admin_says_it_need_not_be_kept(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, rules=[MACROS])
            at.evidence(message)
            release = {"reason": "a mistake", "filters": {"ids": [message.hex]}}
            answer = await at.ask("anna", "quarantine.release", **release)
            assert [row["error"] for row in answer["refused"]] == ["a rule keeps it as evidence: it can never be released"]
            answer = await at.ask("anna", "quarantine.delete", **release)
            assert "an admin ends that first" in answer["refused"][0]["error"]
            await at.ask("anna", "message.unkeep", id=message.hex, reason="the case is closed")
            answer = await at.ask("anna", "quarantine.release", **release)
            assert answer["changed"] == [], "evidence stays evidence"
            await at.ask("anna", "quarantine.delete", **release)
            assert at.states(message) == ["deleted"]

    asyncio.run(story())


def test_a_release_that_was_asked_for_before_it_was_evidence_is_not_carried_out(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.QUARANTINED, findings=[VIRUS], rules=[MALWARE])
            answer = await at.ask("anna", "quarantine.release", reason="for the lab", filters={"ids": [message.hex]})
            at.evidence(message)
            refusal = await at.refused("bert", "request.approve", request=answer["changed"][0]["request"], reason="the lab says so")
            assert refusal == "a rule keeps it as evidence: it can never be released"

    asyncio.run(story())
