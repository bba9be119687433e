"""What follows besides the disposition: the union of what the rules ask that hold, the strictest where they differ."""

import itertools

from relay.decide import decide
from relay.model.decision import Disposition
from relay.model.effects import NO_EFFECTS, Effects
from relay.policy.models import Rule
from tests.stages.decide.cases import (
    EPOCH,
    NOBODY_LOOKED,
    PASS,
    TODAY,
    attachment,
    case,
    condition,
    inspection,
    policy,
    released,
    rule,
    verdict,
    waiver,
)

TLS = Rule(name="tls", when=condition(partner=["court"]), then="deliver", because="agreed", require_tls=True)
MARKED = Rule(name="marked", then="deliver", because="marked", headers={"X-Sluis-Kind": "case", "Comments": "seen"})
TOLD = Rule(name="told", when=condition(subject_contains=["hello"]), then="deliver", because="told", notify=("desk@example.nl",))
EVIDENCE = Rule(
    name="evidence",
    when=condition(attachment={"extensions": ["exe"]}),
    then="quarantine",
    because="evidence",
    keep=True,
    notify=("cert@example.nl", "desk@example.nl"),
)
PROGRAM = inspection(attachments=[attachment("a.exe")])


def test_all_rules_that_hold_have_their_effects_whatever_their_order() -> None:
    about = case("clerk@court.example", inspection=PROGRAM)
    wanted = Effects(
        keep=True,
        require_tls=True,
        fields=(("Comments", "seen"), ("X-Sluis-Kind", "case")),
        notify=(("evidence", "cert@example.nl"), ("evidence", "desk@example.nl"), ("told", "desk@example.nl")),
    )
    for order in itertools.permutations((PASS, TLS, MARKED, TOLD, EVIDENCE)):
        assert verdict(policy(*order), about).effects == wanted


def test_a_rule_that_does_not_hold_has_none() -> None:
    assert verdict(policy(PASS, TLS, EVIDENCE)).effects == NO_EFFECTS


def test_one_recipients_effects_are_not_anothers() -> None:
    said = decide(case("piet@partner.example", "clerk@court.example"), policy(PASS, TLS), EPOCH, TODAY).verdicts
    assert [one.effects.require_tls for one in said] == [False, True]


def test_what_is_only_observed_has_none() -> None:
    assert verdict(policy(PASS, MARKED.model_copy(update={"mode": "observe"}))).effects == NO_EFFECTS


def test_a_waiver_takes_the_effects_with_the_rule() -> None:
    given = policy(PASS, EVIDENCE, waivers=[waiver("lab", "evidence")])
    assert verdict(given, case(inspection=PROGRAM)).effects == NO_EFFECTS


def test_what_is_released_leaves_as_its_rules_say() -> None:
    held = rule("held", "quarantine").model_copy(update={"require_tls": True, "headers": {"X-Sluis-Seen": "by staff"}})
    said = verdict(policy(PASS, held), release=released("held"))
    assert said.disposition is Disposition.DELIVER
    assert said.effects == Effects(require_tls=True, fields=(("X-Sluis-Seen", "by staff"),))


def test_evidence_is_never_released() -> None:
    """Also where it became evidence after somebody had released it, and where two people did."""
    said = verdict(policy(PASS, EVIDENCE), case(inspection=PROGRAM), release=released("evidence", approved=True))
    assert (said.disposition, said.effects.keep) == (Disposition.QUARANTINE, True)


def test_nobody_is_told_of_what_sluis_writes_itself() -> None:
    """Or a notice that matches the rule would be told of by another one, without end."""
    assert verdict(policy(PASS, TOLD), case(client="sluis")).effects == NO_EFFECTS


def test_where_it_is_not_known_whether_tls_is_asked_for_it_is() -> None:
    secret = Rule(name="secret", when=condition(subject_contains=["secret"]), then="deliver", because="x", require_tls=True)
    assert verdict(policy(PASS, secret), case(inspection=NOBODY_LOOKED)).effects.require_tls
    assert not verdict(policy(PASS, secret)).effects.require_tls


def test_effects_are_the_same_when_they_come_back_from_the_record() -> None:
    effects = Effects(True, True, (("Comments", "a b"),), (("told", "desk@example.nl"),))
    assert Effects.from_json(effects.to_json()) == effects
    assert Effects.from_json(None) == NO_EFFECTS
    assert NO_EFFECTS.to_json() == {}
