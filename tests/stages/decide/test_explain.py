"""An explanation says what decide did: every rule, what it asked, what was there, and what would have let it pass."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.decide import decide
from relay.decide.explain import VerdictExplained, explain
from relay.decide.logic import NO, UNKNOWN, YES
from relay.decide.seen import _LOOK
from relay.decide.told import DEFERRED, WORDS, told
from relay.model.case import Case
from relay.model.decision import Disposition, Epoch
from relay.policy.conditions import Condition
from relay.policy.models import Policy
from relay.policy.rules import Tell
from tests.properties.test_decide_order import CASES, EPOCHS, POLICIES
from tests.stages.decide.cases import EPOCH, PASS, TODAY, UNREADABLE, case, condition, policy, rule, waiver


def explained(about: Case, given_policy: Policy, epoch: Epoch = EPOCH, today: date = TODAY) -> VerdictExplained:
    """Of the first recipient."""
    return explain(about, given_policy, epoch, today, decide(about, given_policy, epoch, today))[0]


def standings(about: Case, given_policy: Policy) -> dict[str, str]:
    return {one.name: one.standing for one in explained(about, given_policy).rules}


def test_each_rule_is_told_with_its_standing() -> None:
    given_policy = policy(
        PASS,
        rule("held", tls=True),
        rule("nearly", tls=True, phase=["closed"]),
        rule("no", tls=False),
        rule("waived", "quarantine", sender=["example.nl"]),
        rule("unknown", subject_contains=["x"]),
        rule("watched", tls=True).model_copy(update={"mode": "observe"}),
        rule("past", tls=True).model_copy(update={"until": date(2020, 1, 1)}),
        rule("spared", tls=True).model_copy(update={"unless": condition(sender=["example.nl"])}),
        waivers=[waiver("w", "waived")],
    )

    assert standings(case(inspection=UNREADABLE), given_policy) == {
        "pass": "matched",
        "held": "matched",
        "nearly": "nearly",
        "no": "no",
        "waived": "waived",
        "unknown": "unknown",
        "watched": "observed",
        "past": "off",
        "spared": "nearly",
    }


def test_what_was_asked_and_what_was_seen_stand_side_by_side() -> None:
    one = explained(case(), policy(rule("x", larger_than=10, any=[{"tls": False}, {"phase": ["open"], "client": ["other"]}]))).rules[0]

    larger, alternatives = one.when
    assert (larger.key, larger.asked, larger.seen, larger.truth) == ("larger_than", 10, 5000, YES)
    assert (alternatives.key, alternatives.truth) == ("any", NO)
    assert [(leaf.key, leaf.asked, leaf.seen, leaf.truth) for leaf in alternatives.leaves] == [
        ("tls", False, True, NO),
        ("client", ["other"], "exchange", NO),
        ("phase", ["open"], "open", YES),
    ]


def test_what_is_not_known_is_said_to_be_so() -> None:
    (asked,) = explained(case(inspection=UNREADABLE), policy(rule("x", subject_contains=["a"]))).rules[0].when

    assert (asked.seen, asked.truth) == (None, UNKNOWN)


def test_what_would_have_let_it_pass_is_told() -> None:
    held = rule("closed", phase=["open"], direction=["outbound"]).model_copy(update={"unless": condition(partner=["court"])})
    past = waiver("old", "closed", until=date(2026, 1, 1))
    other = waiver("for-court", "closed", recipient=["court.example"])

    assert explained(case(), policy(PASS, held, waivers=[past, other])).passing == (
        "'closed' would not have matched if 'direction' were not outbound, or 'phase' were not open, or 'partner' were court",
        "the waiver 'old' of 'closed' ended on 2026-01-01",
        "the waiver 'for-court' of 'closed' did not hold: recipient was piet@partner.example",
        "a waiver of 'closed', or a release by staff of this one message",
    )
    assert explained(case(), policy(PASS)).passing == ()
    assert explained(case(), policy(rule("x", "deliver", tls=False))).passing == ("a rule that says deliver for this case: none does",)
    final = rule("x", "quarantine", tls=True, final=True)
    assert explained(case(), policy(PASS, final)).passing[-1] == "'x' is final: no waiver takes it away; a release takes two people"


@pytest.mark.parametrize("final", [False, True])
def test_of_evidence_it_is_not_said_that_it_could_be_released(final: bool) -> None:
    kept = rule("kept", "quarantine", tls=True, final=final).model_copy(update={"keep": True})
    ways = " ".join(explained(case(), policy(PASS, kept)).passing)

    assert "it is kept as evidence, which nobody can release" in ways
    assert "or a release" not in ways
    assert "a release takes" not in ways


@pytest.mark.parametrize("name", sorted((field.alias or name) for name, field in Condition.model_fields.items()))
def test_every_key_of_a_condition_has_something_to_show(name: str) -> None:
    assert name in {*_LOOK, "any", "all", "not"}


@given(CASES, POLICIES, EPOCHS)
@settings(max_examples=60)
def test_an_explanation_never_says_other_than_the_decision(about: Case, given_policy: Policy, epoch: Epoch) -> None:
    decision = decide(about, given_policy, epoch, TODAY)

    for one, verdict in zip(explain(about, given_policy, epoch, TODAY, decision), decision.verdicts, strict=True):
        assert one.verdict == verdict
        matched = {match.rule for match in verdict.matches}
        by_rule = {each.name: each.standing for each in one.rules}
        assert {name for name, standing in by_rule.items() if standing in ("matched", "waived", "unknown")} == matched & by_rule.keys()
        assert bool(one.passing) == (verdict.disposition is not Disposition.DELIVER or verdict.deferred)


@given(st.sampled_from(Disposition), st.booleans())
def test_what_the_sender_reads_is_constant_unless_the_rule_has_words(disposition: Disposition, deferred: bool) -> None:
    words = Tell(nl="Stuur dit via het loket.", en="Use the counter for this.")
    word = str(disposition)
    given_policy = policy(rule("x", word), rule("other", word).model_copy(update={"tell": words, "when": condition(tls=False)}))
    verdict = explained(case(), given_policy).verdict

    assert told(verdict, given_policy) == WORDS[disposition]
    speaking = policy(rule("x", word).model_copy(update={"tell": words}))
    assert told(explained(case(), speaking).verdict, speaking) == words
    assert DEFERRED not in WORDS.values()
