"""At RCPT decide refuses only what no content could make milder."""

from typing import Any

import pytest

from relay.decide import decide_at_rcpt
from relay.model.case import Case
from relay.model.decision import Epoch
from relay.policy.models import Policy
from tests.stages.decide.cases import BRAKED, EPOCH, PASS, TODAY, case, condition, policy, rule, waiver


def refused_by(given: Policy, about: Case | None = None, epoch: Epoch = EPOCH) -> tuple[str, ...]:
    """The rules that refuse at RCPT."""
    said = decide_at_rcpt(about or case(inspection=None), given, epoch, TODAY)
    return said.rules if said else ()


@pytest.mark.parametrize(
    "when",
    [
        {},
        {"recipient": ["piet@partner.example"]},
        {"sender": ["example.nl"]},
        {"client": ["exchange"], "direction": ["outbound"]},
        {"tls": True},
        {"any": [{"recipient": ["partner.example"]}, {"subject_contains": ["x"]}]},
        {"not_": {"recipient": ["court.example"]}},
    ],
)
def test_a_rejection_that_stands_on_the_envelope_is_said_at_once(when: dict[str, Any]) -> None:
    assert refused_by(policy(PASS, rule("no", "reject", **when))) == ("no",)


@pytest.mark.parametrize(
    "when",
    [
        {"subject_contains": ["x"]},
        {"not_": {"subject_contains": ["x"]}},
        {"larger_than": 10},
        {"recipients_more_than": 0},
        {"finding": ["malware"]},
        {"header_from": ["*"]},
        {"attachment": {}},
        {"recipient": ["partner.example"], "smaller_than": 100_000},
        {"recipient": ["other.example"]},
    ],
)
def test_a_rejection_that_looks_at_content_waits_for_the_content(when: dict[str, Any]) -> None:
    assert refused_by(policy(PASS, rule("no", "reject", **when))) == ()


@pytest.mark.parametrize("then", ["deliver", "hold", "quarantine"])
def test_nothing_but_a_rejection_is_said_at_rcpt(then: str) -> None:
    assert refused_by(policy(rule("x", then))) == ()


def test_neither_the_brake_nor_a_forgotten_case_refuses() -> None:
    assert refused_by(policy(), epoch=BRAKED) == ()


def test_unless_on_content_speaks_against_it() -> None:
    no = rule("no", "reject").model_copy(update={"unless": condition(subject_contains=["x"])})

    assert refused_by(policy(PASS, no)) == ()


@pytest.mark.parametrize(
    ("when", "refused"),
    [
        ({}, ()),
        ({"subject_contains": ["agreed"]}, ()),
        ({"recipient": ["court.example"]}, ("no",)),
        ({"until": TODAY.replace(year=2020)}, ("no",)),
    ],
)
def test_a_waiver_that_may_come_to_hold_speaks_against_it(when: dict[str, Any], refused: tuple[str, ...]) -> None:
    assert refused_by(policy(PASS, rule("no", "reject"), waivers=[waiver("w", "no", **when)])) == refused


def test_a_final_rule_waits_for_no_waiver() -> None:
    assert refused_by(policy(rule("no", "reject", final=True), waivers=[waiver("w", "no")])) == ("no",)


def test_every_rule_that_refuses_is_named() -> None:
    assert refused_by(policy(rule("a", "reject"), rule("b", "reject"), PASS)) == ("a", "b")


@pytest.mark.parametrize("then", ["reject", "quarantine"])
def test_what_is_kept_as_evidence_is_not_refused_before_there_is_anything_to_keep(then: str) -> None:
    kept = rule("kept", then, sender=["example.nl"]).model_copy(update={"keep": True})

    assert refused_by(policy(PASS, kept)) == ()
    assert refused_by(policy(PASS, kept, rule("no", "reject"))) == ()
    assert refused_by(policy(PASS, kept, rule("no", "reject")), case(inspection=None, sender="x@other.example")) == ("no",)
