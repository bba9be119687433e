"""What is not known never lets anything pass: it counts where a rule is strict, or makes deliver wait."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from relay.decide.conditions import Test, compile_condition
from relay.decide.facts import Facts, MessageFacts
from relay.decide.logic import NO, UNKNOWN, YES, Truth, both, opposite, truth
from relay.decide.named import Named
from relay.model.case import Direction
from relay.model.decision import Disposition
from relay.model.features import Header, Inspection
from relay.model.finding import Kind
from relay.policy.models import InspectionPolicy
from tests.stages.decide.cases import (
    ANSWERED,
    NOBODY_LOOKED,
    PASS,
    UNREADABLE,
    case,
    condition,
    disposition,
    found,
    inspection,
    policy,
    rule,
    verdict,
)

DELIVER, HOLD, QUARANTINE, REJECT = Disposition
NOT_REQUIRED = InspectionPolicy(outbound=(), inbound=(), internal=())
SUBJECT: dict[str, Any] = {"subject_contains": ["secret"]}
IS = {YES: {"tls": True}, NO: {"tls": False}, UNKNOWN: SUBJECT}
"""A condition with each truth, about a message that nobody could read."""


def evaluated(**when: object) -> Truth:
    test: Test = compile_condition(condition(**when), Named())
    return test(Facts(MessageFacts(case(inspection=UNREADABLE), "open"), "piet@partner.example", Direction.OUTBOUND))


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Truth, repeat=2)))
def test_and_and_or_are_kleenes(one: Truth, other: Truth) -> None:
    ranks = (one.value, other.value)

    assert evaluated(all=[IS[one], IS[other]]) is both(one, other) is Truth(min(ranks))
    assert evaluated(any=[IS[one], IS[other]]) is Truth(max(ranks))


@pytest.mark.parametrize(("given", "expected"), [(YES, NO), (NO, YES), (UNKNOWN, UNKNOWN)])
def test_not_leaves_unknown_unknown(given: Truth, expected: Truth) -> None:
    assert evaluated(not_=IS[given]) is opposite(given) is expected


def test_no_value_is_unknown() -> None:
    assert [truth(value) for value in (True, False, None)] == [YES, NO, UNKNOWN]


def test_an_empty_condition_always_holds() -> None:
    assert evaluated() is YES


@pytest.mark.parametrize(
    "content",
    [
        SUBJECT,
        {"header_from": ["*"]},
        {"attachment": {}},
        {"finding": ["malware"]},
        {"finding_name": ["x"]},
    ],
)
def test_content_that_nobody_read_is_unknown_and_so_is_its_opposite(content: dict[str, object]) -> None:
    assert evaluated(**content) is UNKNOWN
    assert evaluated(not_=content) is UNKNOWN


def test_what_was_found_was_found_even_where_the_rest_could_not_be_read() -> None:
    assert evaluated(finding=["crash"]) is YES
    assert evaluated(finding_name=["worker-died"]) is YES


@pytest.mark.parametrize(("then", "expected"), [("hold", HOLD), ("quarantine", QUARANTINE), ("reject", QUARANTINE)])
def test_a_strict_rule_that_may_hold_counts_but_refuses_nothing(then: str, expected: Disposition) -> None:
    said = verdict(policy(PASS, rule("x", then, **SUBJECT)), case(inspection=UNREADABLE))

    match = next(match for match in said.matches if match.rule == "x")
    assert match.disposition is expected
    assert "unknown" in match.because


def test_a_rule_that_may_hold_never_delivers() -> None:
    said = verdict(policy(rule("x", "deliver", **SUBJECT)), case(inspection=UNREADABLE))

    assert "x" not in [match.rule for match in said.matches]


def test_unless_that_may_hold_takes_nothing_out_for_sure() -> None:
    shut = rule("shut").model_copy(update={"unless": condition(**SUBJECT)})
    said = verdict(policy(PASS, shut), case(inspection=UNREADABLE))

    assert "shut" in [match.rule for match in said.matches]


def test_an_inspector_that_is_down_makes_deliver_wait() -> None:
    said = verdict(policy(PASS), case(inspection=inspection(unavailable=("yara",), answered=("type", "archive"))))

    assert (said.disposition, said.deferred, said.because) == (DELIVER, True, "no answer from yara")


@pytest.mark.parametrize(("then", "expected"), [("hold", HOLD), ("quarantine", QUARANTINE), ("reject", REJECT)])
def test_an_inspector_that_is_down_changes_nothing_else(then: str, expected: Disposition) -> None:
    said = verdict(policy(PASS, rule("x", then)), case(inspection=inspection(answered=())))

    assert (said.disposition, said.deferred) == (expected, False)


def test_an_inspector_that_answered_for_one_part_and_then_fell_silent_did_not_answer() -> None:
    assert verdict(policy(PASS), case(inspection=inspection(unavailable=("yara",)))).deferred


def test_only_what_policy_requires_is_waited_for() -> None:
    assert disposition(policy(PASS), case(inspection=inspection(unavailable=("clamd",)))) is DELIVER


def test_each_direction_requires_its_own() -> None:
    given = policy(PASS, inspection=InspectionPolicy(outbound=ANSWERED, inbound=("clamd",), internal=ANSWERED))

    assert not verdict(given, case()).deferred
    assert verdict(given, case("a@example.nl", inside=False)).deferred


def test_a_busy_relay_defers_and_quarantines_nothing() -> None:
    exe = rule("exe", "quarantine", attachment={"extensions": ["exe"]})
    said = verdict(policy(PASS, exe, rule("m", "reject", finding=["malware"])), case(inspection=NOBODY_LOOKED))

    assert (said.disposition, said.deferred) == (DELIVER, True)


def test_what_may_turn_out_to_be_delivered_waits_too_when_nobody_was_free() -> None:
    said = verdict(policy(rule("x", "deliver", **SUBJECT)), case(inspection=NOBODY_LOOKED))

    assert (said.disposition, said.deferred) == (DELIVER, True)


@pytest.mark.parametrize("content", [NOBODY_LOOKED, None, Inspection(Header())])
def test_a_message_that_nobody_looked_into_is_not_delivered_whatever_is_required(content: Inspection | None) -> None:
    said = verdict(policy(PASS, inspection=NOT_REQUIRED), case(inspection=content))

    assert said.deferred
    assert said.because == "no answer from any reader"


def test_what_surely_holds_stands_though_nobody_looked() -> None:
    said = verdict(policy(PASS, rule("no", "reject", recipient=["*"])), case(inspection=NOBODY_LOOKED))

    assert said.disposition is REJECT


@pytest.mark.parametrize(
    "when",
    [{"larger_than": 4999}, {"smaller_than": 5001}, {"recipients_more_than": 0}, {"larger_than": 10, "smaller_than": 10_000}],
)
def test_sizes_and_counts_are_known_after_data_whatever_the_readers_say(when: dict[str, Any]) -> None:
    assert disposition(policy(PASS, rule("x", "reject", **when)), case(inspection=UNREADABLE)) is REJECT


def test_a_recipient_that_was_decided_before_still_counts_as_one_of_the_transaction() -> None:
    many = replace(case("a@partner.example"), recipients_total=200)

    assert disposition(policy(PASS, rule("mass", recipients_more_than=100)), many) is HOLD


def test_a_finding_among_other_things_does_not_make_the_rest_unknown() -> None:
    about = case(inspection=inspection(found(Kind.ENCRYPTED)))

    assert "x" not in [match.rule for match in verdict(policy(PASS, rule("x", **SUBJECT)), about).matches]
