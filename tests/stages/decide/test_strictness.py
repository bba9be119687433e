"""The strictest rule that matches wins, order means nothing, and a case that no rule covers is held with an alert."""

import itertools

import pytest

from relay.decide import decide
from relay.model.decision import Disposition, Epoch
from relay.model.finding import Kind
from relay.policy.models import Policy, Rule
from tests.stages.decide.cases import BRAKED, EPOCH, PASS, TODAY, attachment, case, disposition, found, inspection, policy, rule, verdict

DELIVER, HOLD, QUARANTINE, REJECT = Disposition
STRICT = [rule("a-hold"), rule("b-quarantine", "quarantine"), rule("c-reject", "reject"), PASS]


@pytest.mark.parametrize("rules", list(itertools.permutations(STRICT)))
def test_the_strictest_rule_wins_in_every_order(rules: tuple[Rule, ...]) -> None:
    said = verdict(policy(*rules))

    assert said.disposition is REJECT
    assert said.rules == ("c-reject",)
    assert said.because == "rule c-reject"


@pytest.mark.parametrize(("count", "expected"), [(1, HOLD), (2, QUARANTINE), (3, REJECT)])
def test_each_disposition_is_stricter_than_the_one_before(count: int, expected: Disposition) -> None:
    assert disposition(policy(PASS, *STRICT[:count])) is expected


def test_all_rules_that_matched_are_kept_for_the_record() -> None:
    said = verdict(policy(*STRICT, rule("other", "reject", tls=False)))

    assert [match.rule for match in said.matches] == ["a-hold", "b-quarantine", "c-reject", "pass"]


def test_a_message_that_no_rule_covers_is_held_with_an_alert() -> None:
    said = verdict(policy(rule("other", "deliver", tls=False)))

    assert (said.disposition, said.alert, said.rules) == (HOLD, "no-rule", ("no-rule",))


def test_an_empty_policy_lets_nothing_pass() -> None:
    assert verdict(policy()).disposition is HOLD


def test_a_hold_by_a_rule_raises_no_alert() -> None:
    assert verdict(policy(rule("closed"))).alert is None


def test_one_recipient_says_nothing_of_another() -> None:
    given = policy(PASS, rule("not-there", "reject", recipient=["b@partner.example"]), rule("later", recipient=["c@partner.example"]))
    said = decide(case("a@partner.example", "b@partner.example", "c@partner.example"), given, EPOCH, TODAY)

    assert [one.disposition for one in said.verdicts] == [DELIVER, REJECT, HOLD]
    assert said.epoch == EPOCH


def test_one_rule_can_match_for_one_recipient_only_by_direction() -> None:
    given = policy(PASS, rule("shut", direction=["outbound"]))
    said = decide(case("a@example.nl", "b@partner.example"), given, EPOCH, TODAY)

    assert [one.disposition for one in said.verdicts] == [DELIVER, HOLD]


@pytest.mark.parametrize("then", ["deliver", "reject"])
def test_malware_is_quarantined_without_any_rule_and_rejected_where_a_rule_says_so(then: str) -> None:
    about = case(inspection=inspection(found(Kind.MALWARE, "Eicar")))

    assert disposition(policy(rule("x", then)), about) is (QUARANTINE if then == "deliver" else REJECT)


@pytest.mark.parametrize("kind", [Kind.ENCRYPTED, Kind.AMBIGUOUS, Kind.LIMIT, Kind.CRASH])
def test_what_could_not_be_inspected_whole_is_at_least_quarantined(kind: Kind) -> None:
    said = verdict(policy(PASS), case(inspection=inspection(found(kind, "why"))))

    assert (said.disposition, said.rules) == (QUARANTINE, (f"undecidable-{kind.value}",))
    assert said.because == f"not inspected whole: {kind.value}: why"


@pytest.mark.parametrize("kind", [Kind.RULE, Kind.TYPE, Kind.ARCHIVE])
def test_an_opinion_of_an_inspector_is_for_policy_to_judge(kind: Kind) -> None:
    about = case(inspection=inspection(found(kind)))

    assert disposition(policy(PASS), about) is DELIVER
    assert disposition(policy(PASS, rule("x", "quarantine", finding=[kind])), about) is QUARANTINE


@pytest.mark.parametrize("name", ["from-missing", "from-several", "from-unparsable", "from-not-allowed", "mail-loop"])
def test_a_header_that_receive_does_not_accept_is_rejected(name: str) -> None:
    said = verdict(policy(PASS), case(inspection=inspection(found(Kind.HEADER, name, inspector="receive", part=""))))

    assert (said.disposition, said.rules) == (REJECT, ("header",))
    assert name in said.because


def test_what_a_reader_says_of_a_header_rejects_nothing() -> None:
    assert disposition(policy(PASS), case(inspection=inspection(found(Kind.HEADER, "strange", inspector="reader")))) is DELIVER


def test_the_brake_holds_what_would_be_delivered_and_makes_nothing_milder() -> None:
    assert disposition(policy(PASS), epoch=BRAKED) is HOLD
    assert disposition(policy(PASS, rule("no", "reject")), epoch=BRAKED) is REJECT


def test_the_brake_is_named_and_raises_no_alert_of_its_own() -> None:
    said = verdict(policy(PASS), epoch=BRAKED)

    assert (said.rules, said.alert) == (("brake",), None)


def test_a_phase_holds_what_it_does_not_let_through() -> None:
    given = policy(PASS, rule("closed", phase=["closed"]))

    assert disposition(given) is DELIVER
    assert disposition(given, epoch=Epoch("0" * 64, "closed")) is HOLD


def test_unless_takes_out_what_a_rule_does_not_mean() -> None:
    shut = rule("shut", direction=["outbound"]).model_copy(update={"unless": rule("x", partner=["court"]).when})

    assert disposition(policy(PASS, shut), case("a@court.example")) is DELIVER
    assert disposition(policy(PASS, shut), case("a@partner.example")) is HOLD


def test_the_same_policy_object_and_an_equal_one_decide_alike() -> None:
    given = policy(PASS, rule("exe", "quarantine", attachment={"extensions": ["exe"]}))
    about = case(inspection=inspection(attachments=[attachment("x.exe")]))
    twin = Policy.model_validate(given.model_dump(by_alias=True))

    assert decide(about, given, EPOCH, TODAY) == decide(about, given, EPOCH, TODAY) == decide(about, twin, EPOCH, TODAY)


def test_more_policies_than_are_remembered_do_not_disturb_each_other() -> None:
    policies = [policy(PASS, rule("x", then)) for then in ("hold", "quarantine", "reject") * 4]

    for _ in range(2):
        assert [disposition(given) for given in policies] == [HOLD, QUARANTINE, REJECT] * 4
