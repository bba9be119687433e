"""A policy on its way into force: what is refused, who may say yes, and what makes a proposal void."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from relay.control.actor import Role
from relay.control.rollout import prepare, propose
from relay.model.delivery import State
from relay.model.errors import OperationRefused
from relay.phases import change
from relay.phases import state as phase_state
from relay.policy.content import Content, pack
from relay.settings.models import PolicyRollout, Store
from relay.store import policies, rollouts
from tests.stages.control.desk import Desk, desk
from tests.stages.policy.texts import FILES, RULES

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
STRICTER = RULES + "  - {name: held, when: {tls: false}, then: hold, because: in the clear}\n"
MILDER = RULES.replace("then: quarantine", "then: hold")
FIRST = Content(FILES)


def changed(**files: str) -> Content:
    """The small policy with other files; `__` stands for `/`."""
    return Content({**FILES, **{f"{name.replace('__', '/')}.yaml": text for name, text in files.items()}})


MILD, STRICT = changed(rules__rules=MILDER), changed(rules__rules=STRICTER)


def begin(at: Desk) -> None:
    """A policy is in force, as after a first start."""

    def work(connection: Connection) -> None:
        policies.keep(connection, FIRST.digest, FIRST.files, 1)
        change.set_policy(connection, FIRST.digest, "a process", "from a folder", 1)

    at.journal.submit_now(work)


def in_force(at: Desk) -> str | None:
    return at.reader.read_now(phase_state.read).policy


async def ask(at: Desk, who: str, content: Content, **params: Any) -> Mapping[str, Any]:
    return await at.ask(
        who, "policy.propose", content=pack(content), digest=content.digest, reason="as agreed", **{"untested": True, **params}
    )


def test_who_proposed_it_can_not_approve_it_and_another_can(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            asked = await ask(at, "anna", MILD)
            assert (asked["request_state"], asked["why_two"]) == ("open", "the rule 'macro' changed")
            (waits,) = (await at.ask("bert", "request.list"))["rows"]
            assert (waits["kind"], waits["details"]["digest"], waits["request"]) == ("policy", MILD.digest, asked["request"])
            assert "second person" in await at.refused("anna", "policy.approve", version=MILD.digest, reason="me again")
            at.roles["carla"] = frozenset({Role.REVIEW})
            assert "role admin" in await at.refused("carla", "policy.approve", version=MILD.digest, reason="x")
            assert "role admin" in await at.refused("carla", "request.approve", request=asked["request"], reason="x")
            assert in_force(at) == FIRST.digest
            changes = at.changes
            for fewer in (MILD.digest[:15], "", asked["request"][:31]):  # another that begins so is found in no time
                assert "say which: 16 digits" in await at.refused("bert", "policy.approve", version=fewer, reason="looked at it")
            done = await at.ask("bert", "policy.approve", version=MILD.digest[:16], reason="looked at it")
            assert (done["policy"], in_force(at), at.changes) == (MILD.digest, MILD.digest, changes + 1)
            assert [event["kind"] for event in at.events()][-3:] == ["policy-asked", "policy-approved", "policy"]
            (row,) = (await at.ask("carla", "policy.history"))["rows"]
            assert (row["author"], row["approver"], row["state"]) == ("unix:anna (1000)", "unix:bert (1000)", "in force")
            assert (row["tested"], row["before"], row["replay"]["told"]) == (
                {"ran": True, "passed": 0, "failed": 0, "not_reached": ["pass", "macro", "dangerous"]},
                FIRST.digest,
                "0 messages replayed: 0 of 0 recipients would come out otherwise",
            )

    asyncio.run(story())


@on_sqlite
def test_what_can_only_close_is_in_force_at_once_and_so_is_anything_with_one_admin(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            assert (await ask(at, "anna", STRICT))["request_state"] == "done"
            assert in_force(at) == STRICT.digest
        async with desk(tmp_path / "alone", database, two_people=False) as at:
            assert (await ask(at, "anna", MILD))["request_state"] == "done"
            assert in_force(at) == MILD.digest
            told = at.events("policy-asked")[-1]["details"]
            assert (told["two_people"], told["why_two"]) == (False, "the rule 'macro' changed")

    asyncio.run(story())


@on_sqlite
def test_what_is_refused_is_refused_with_every_reason_and_nothing_is_kept(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            assert "no policy is in force yet" in await _refused(at, MILD)
            begin(at)
            assert "nothing would change" in await _refused(at, FIRST)
            wrong = changed(rules__rules=RULES.replace("then: deliver", "thn: deliver"))
            assert "rules/rules.yaml:3: unknown key 'thn' (did you mean 'then'?)" in await _refused(at, wrong)
            no_certificates = changed(routes='routes: [{name: out, to: ["*"], ca_file: /not/here.pem}]\n')
            assert "/not/here.pem" in await _refused(at, no_certificates)
            unreadable = Content(MILD.files, {"tests/a.yaml": b"tests: 5\n"})
            assert "its tests fail: nothing was proposed\ntests/a.yaml:1" in await _refused(at, unreadable)
            outside = Content(MILD.files, {"tests/a.yaml": _test("eml: ../../../etc/passwd")})
            assert "not a file inside tests" in await _refused(at, outside)
            assert "is no version" in await at.refused("anna", "policy.rollback", version="abc", reason="x")
            assert "no version of the policy is 'abcdef'" in await at.refused("anna", "policy.rollback", version="abcdef", reason="x")
            other = await at.refused("anna", "policy.propose", content=pack(MILD), digest=STRICT.digest, reason="x")
            assert "another than was meant" in other
            assert "not the content" in await at.refused("anna", "policy.propose", content="AAAA", digest=STRICT.digest, reason="x")
            assert (await at.ask("anna", "policy.history"))["rows"] == []
            assert "policies that wait for a second person: none" in await at.refused(
                "anna", "policy.approve", version=MILD.digest, reason="x"
            )
            assert in_force(at) == FIRST.digest

    asyncio.run(story())


@on_sqlite
def test_without_a_test_it_is_refused_unless_somebody_says_so_and_the_audit_keeps_that(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            said = await at.refused("anna", "policy.propose", content=pack(STRICT), digest=STRICT.digest, reason="x")
            assert "it has no test (policies/tests): nothing was proposed" in said
            assert in_force(at) == FIRST.digest
            await ask(at, "anna", STRICT, untested=True)
            told = at.events("policy-asked")[-1]["details"]
            assert (told["untested"], told["tests"], in_force(at)) == (True, STRICT.tests_digest, STRICT.digest)

    asyncio.run(story())


@on_sqlite
def test_tests_alone_can_be_proposed_and_are_approved_by_their_digest(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            one, two = (Content(FILES, {"tests/a.yaml": _test(f"subject: {word}")}) for word in ("one", "two"))
            added = await ask(at, "anna", one, untested=False)
            assert (added["request_state"], added["tests"]) == ("done", one.tests_digest), "tests that come take nothing away"
            assert "with these tests: nothing would change" in await _refused(at, one)
            changed = await ask(at, "anna", two, untested=False)
            assert (changed["request_state"], changed["why_two"]) == ("open", "tests that were there changed or are gone: 'x'")
            for version, tests in (("in-force", one), (f"{one.digest[:16]}+{two.tests_digest[:16]}", two)):
                assert (await at.ask("bert", "policy.version", version=version))["tests"] == tests.tests_text
            wrong = await at.refused("bert", "policy.approve", version=f"{one.digest[:16]}+{one.tests_digest[:16]}", reason="x")
            assert f"{two.digest[:16]}+{two.tests_digest[:16]}" in wrong
            await at.ask("bert", "policy.approve", version=f"{two.digest[:16]}+{two.tests_digest[:16]}", reason="looked at it")
            assert (await at.ask("bert", "policy.version", version="in-force"))["tests"] == two.tests_text
            assert in_force(at) == FIRST.digest

    asyncio.run(story())


@on_sqlite
def test_a_stricter_policy_takes_no_test_along_on_the_word_of_one(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            tests = {"tests/a.yaml": _test("subject: x"), "tests/b.eml": b"x"}
            await ask(at, "anna", Content(FILES, tests))
            lost = "tests that were there changed or are gone: "
            for left, told in (({}, "'x', tests/b.eml"), ({**tests, "tests/a.yaml": _test("subject: y")}, "'x'")):
                asked = await ask(at, "anna", Content(STRICT.files, left))
                assert (asked["request_state"], asked["why_two"]) == ("open", lost + told)
                await at.ask("bert", "request.refuse", request=asked["request"], reason="why would we")
            back = await at.ask("anna", "policy.rollback", version=STRICT.digest, reason="its tests never stood")
            assert back["request_state"] == "open"
            assert in_force(at) == FIRST.digest
            asked = await ask(
                at, "anna", Content(STRICT.files, {**tests, "tests/c.yaml": _test("subject: z").replace(b"name: x", b"name: z")})
            )
            assert (asked["request_state"], in_force(at)) == ("done", STRICT.digest)

    asyncio.run(story())


@on_sqlite
def test_a_rule_that_closes_may_change_what_its_tests_expect_on_the_word_of_one(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            await ask(at, "anna", Content(FILES, {"tests/a.yaml": _test("subject: x")}))
            closing = changed(rules__rules=RULES + "  - {name: closed, then: hold, because: nothing leaves}\n")
            held = _test("subject: x").replace(b"disposition: deliver", b"disposition: hold")
            asked = await ask(at, "anna", Content(closing.files, {"tests/a.yaml": held}))
            assert (asked["request_state"], asked["why_two"], in_force(at)) == ("done", "", closing.digest)

    asyncio.run(story())


@on_sqlite
def test_tests_that_came_meanwhile_are_not_taken_away_unseen(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            prepared = await prepare(at.services, STRICT, untested=True)
            assert prepared.why_two == ""
            waits = await ask(at, "anna", MILD)
            await ask(at, "bert", Content(FILES, {"tests/a.yaml": _test("subject: x")}))
            with pytest.raises(OperationRefused, match="came into force meanwhile"):
                at.journal.submit_now(lambda connection: propose(connection, at.services, None, prepared, "proposed", "x"))  # type: ignore[arg-type]
            assert "came into force since" in await at.refused("bert", "policy.approve", version=waits["request"], reason="x")
            assert (await at.ask("bert", "request.list"))["rows"] == []

    asyncio.run(story())


def _test(message: str) -> bytes:
    envelope = "{client: exchange, sender: jan@example.nl, recipients: [piet@partner.example]}"
    return f"tests:\n  - {{name: x, message: {{{message}}}, envelope: {envelope}, expect: [{{disposition: deliver}}]}}\n".encode()


async def _refused(at: Desk, content: Content) -> str:
    return await at.refused("anna", "policy.propose", content=pack(content), digest=content.digest, reason="x", untested=True)


def test_who_is_asked_is_not_asked_about_what_another_policy_overtook(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            overtaken = await ask(at, "anna", MILD)
            assert [row["request"] for row in (await at.ask("bert", "request.list"))["rows"]] == [overtaken["request"]]
            await ask(at, "anna", STRICT)
            assert (await at.ask("bert", "request.list"))["rows"] == []
            everything = (await at.ask("bert", "request.list", everything=True))["rows"]
            assert overtaken["request"] in [row["request"] for row in everything]

    asyncio.run(story())


@on_sqlite
def test_what_came_into_force_since_makes_a_proposal_void(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            await ask(at, "anna", MILD)
            assert "has proposed it already" in await _refused(at, MILD)
            prepared = await prepare(at.services, changed(rules__rules=MILDER + "\n"), untested=True)
            await ask(at, "anna", STRICT)
            assert "came into force since" in await at.refused("bert", "policy.approve", version=MILD.digest, reason="x")
            with pytest.raises(OperationRefused, match="came into force meanwhile"):
                at.journal.submit_now(lambda connection: propose(connection, at.services, None, prepared, "proposed", "x"))  # type: ignore[arg-type]
            assert in_force(at) == STRICT.digest
            states = [row["state"] for row in (await at.ask("anna", "policy.history"))["rows"]]
            assert states == ["in force", "outdated"]
            again = await ask(at, "anna", MILD)
            assert again["request_state"] == "open"
            done = await at.ask("bert", "policy.approve", version=MILD.digest, reason="x")
            assert done["request"] == again["request"], "and not the one that is void"
            assert in_force(at) == MILD.digest

    asyncio.run(story())


def test_a_version_of_before_comes_back_with_the_tests_that_it_had(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            tests = {"tests/a.yaml": _test("subject: x"), "tests/b.eml": b"\xff"}
            await ask(at, "anna", Content(STRICT.files, tests))
            asked = await at.ask("anna", "policy.rollback", version=FIRST.digest[:6], reason="too strict")
            assert (asked["request_state"], asked["why_two"]) == ("open", "the rule 'held' went")
            await at.ask("bert", "policy.approve", version=asked["request"], reason="x")
            shown = await at.ask("anna", "policy.version", version=STRICT.digest)
            assert (shown["files"], shown["tests"]) == (STRICT.files, Content({}, tests).tests_text)
            again = await at.ask("anna", "policy.rollback", version=STRICT.digest[:6], reason="not too strict")
            assert (again["request_state"], again["tested"]["passed"]) == ("done", 1)
            assert (await at.ask("anna", "policy.version", version="in-force"))["digest"] == STRICT.digest
            rows = (await at.ask("anna", "policy.history", limit=2))["rows"]
            assert [(row["origin"], row["state"]) for row in rows] == [("rollback", "in force"), ("rollback", "was in force")]
            (oldest,) = (await at.ask("anna", "policy.history", limit=2, after=rows[-1]["id"]))["rows"]
            assert (oldest["origin"], oldest["state"]) == (rollouts.PROPOSED, "was in force")

    asyncio.run(story())


@on_sqlite
def test_where_the_folder_says_what_is_in_force_nothing_is_proposed(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            begin(at)
            await ask(at, "anna", MILD)
            settings = at.settings.model_copy(update={"policy": PolicyRollout(source="folder")})
            object.__setattr__(at.services, "settings", settings)
            assert "the policy folder says what is in force here" in await _refused(at, STRICT)
            assert "the policy folder says what is in force here" in await at.refused(
                "bert", "policy.approve", version=MILD.digest, reason="x"
            )
            assert in_force(at) == FIRST.digest

    asyncio.run(story())


def test_a_pattern_is_held_against_the_newest_recipients(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            for number in range(30):
                at.put(State.HELD, recipients=[f"a{number}@{'rare' if number < 1 else 'often'}.example"])
            patterns = {"some": ["*@often.example", "*@rare.example", "*@never.example"], "other": ["a1*@*"]}
            told = (await at.ask("anna", "policy.patterns", lists=patterns))["warnings"]
            assert told == [
                "lists/other.txt: 'pattern: a1*@*' covers 36.7 % of the last 30 recipients (of at most 30 days)",
                "lists/some.txt: 'pattern: *@often.example' covers 96.7 % of the last 30 recipients (of at most 30 days)",
            ]
            assert (await at.ask("anna", "policy.patterns", lists={}))["warnings"] == []
            at.roles["carla"] = frozenset({Role.REVIEW})  # who else asked could try one address after the other
            assert "role admin" in await at.refused("carla", "policy.patterns", lists=patterns)

    asyncio.run(story())
