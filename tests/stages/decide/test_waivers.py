"""A waiver is the one way to be milder: it names rules, ends, and never touches what is final."""

from datetime import date, timedelta

import pytest

from relay.model.decision import Disposition
from relay.model.finding import Kind
from tests.stages.decide.cases import BRAKED, PASS, TODAY, UNREADABLE, case, disposition, found, inspection, policy, rule, verdict, waiver

DELIVER, HOLD, QUARANTINE, REJECT = Disposition
MACRO = rule("macro", "quarantine")
LARGE = rule("large", "hold")


def test_a_waived_rule_counts_no_more_and_stays_in_the_record() -> None:
    said = verdict(policy(PASS, MACRO, waivers=[waiver("for-us", "macro")]))

    assert said.disposition is DELIVER
    assert [(match.rule, match.waived_by) for match in said.matches] == [("pass", None), ("macro", "waiver for-us")]


def test_only_the_rules_that_it_names_are_waived() -> None:
    assert disposition(policy(PASS, MACRO, LARGE, waivers=[waiver("w", "macro")])) is HOLD


def test_a_waiver_matches_like_a_rule() -> None:
    given = policy(PASS, MACRO, waivers=[waiver("w", "macro", partner=["court"])])

    assert disposition(given, case("a@court.example")) is DELIVER
    assert disposition(given, case("a@partner.example")) is QUARANTINE


@pytest.mark.parametrize(("days", "expected"), [(-1, QUARANTINE), (0, DELIVER), (1, DELIVER)])
def test_a_waiver_counts_until_the_end_of_its_last_day(days: int, expected: Disposition) -> None:
    assert disposition(policy(PASS, MACRO, waivers=[waiver("w", "macro", until=TODAY + timedelta(days=days))])) is expected


def test_no_waiver_takes_a_final_rule_away() -> None:
    final = rule("macro", "quarantine", final=True)

    assert disposition(policy(PASS, final, waivers=[waiver("w", "macro")])) is QUARANTINE


@pytest.mark.parametrize("name", ["malware", "brake", "no-rule"])
def test_no_waiver_takes_a_final_built_in_rule_away(name: str) -> None:
    rules = () if name == "no-rule" else (PASS,)
    about = case(inspection=inspection(*([found(Kind.MALWARE)] if name == "malware" else [])))
    said = verdict(policy(*rules, waivers=[waiver("w", name)]), about, BRAKED)

    assert said.disposition is not DELIVER
    assert all(match.waived_by is None for match in said.matches)


def test_a_waiver_of_one_kind_of_unknown_says_nothing_of_another() -> None:
    given = policy(PASS, waivers=[waiver("w", "undecidable-encrypted")])

    assert disposition(given, case(inspection=inspection(found(Kind.ENCRYPTED)))) is DELIVER
    assert disposition(given, case(inspection=inspection(found(Kind.ENCRYPTED), found(Kind.AMBIGUOUS)))) is QUARANTINE


def test_a_waiver_lets_nothing_pass_that_no_rule_delivers() -> None:
    said = verdict(policy(MACRO, waivers=[waiver("w", "macro")]))

    assert (said.disposition, said.alert) == (HOLD, "no-rule")


def test_a_waiver_of_a_rule_that_delivers_changes_nothing() -> None:
    assert disposition(policy(PASS, waivers=[waiver("w", "pass")])) is DELIVER


def test_a_waiver_of_which_it_is_unknown_whether_it_holds_takes_nothing_away() -> None:
    given = policy(PASS, waivers=[waiver("w", "undecidable-crash", subject_contains=["invoice"])])

    assert disposition(given, case(inspection=UNREADABLE)) is QUARANTINE


def test_two_waivers_of_one_rule_are_one_waiver_or_the_other() -> None:
    given = policy(PASS, MACRO, waivers=[waiver("old", "macro", until=date(2020, 1, 1)), waiver("new", "macro")])

    assert verdict(given).matches[1].waived_by == "waiver new"
