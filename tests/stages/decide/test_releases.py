"""A release is a waiver for one message and one recipient, bound to the findings and rules that were seen."""

import pytest

from relay.decide import decide
from relay.model.decision import Disposition
from relay.model.finding import Finding, Kind
from tests.stages.decide.cases import (
    BRAKED,
    EPOCH,
    NOBODY_LOOKED,
    PASS,
    TODAY,
    UNREADABLE,
    attachment,
    case,
    disposition,
    found,
    inspection,
    policy,
    released,
    rule,
    verdict,
    waiver,
)

DELIVER, HOLD, QUARANTINE, REJECT = Disposition
SEEN = found(Kind.TYPE, "not-what-it-says")
STRANGE = rule("strange", "quarantine", finding=["type"])
LARGE = rule("large", "hold")
ABOUT = case(inspection=inspection(SEEN))


def test_what_was_seen_is_released() -> None:
    said = verdict(policy(PASS, STRANGE), ABOUT, release=released("strange", findings=[SEEN]))

    assert (said.disposition, said.route) == (DELIVER, "out")
    assert said.matches[-1].waived_by == "release r1"


def test_a_release_is_for_one_recipient() -> None:
    both = case("a@partner.example", "b@partner.example", inspection=inspection(SEEN))
    said = decide(both, policy(PASS, STRANGE), EPOCH, TODAY, {1: released("strange", findings=[SEEN])})

    assert [one.disposition for one in said.verdicts] == [QUARANTINE, DELIVER]


@pytest.mark.parametrize(
    "new",
    [
        found(Kind.TYPE, "not-what-it-says", part="3"),
        found(Kind.TYPE, "something-else"),
        found(Kind.RULE, "not-what-it-says"),
        found(Kind.TYPE, "not-what-it-says", inspector="clamd"),
    ],
)
def test_a_new_finding_stops_it_again(new: Finding) -> None:
    about = case(inspection=inspection(SEEN, new))

    assert disposition(policy(PASS, STRANGE), about, release=released("strange", findings=[SEEN])) is QUARANTINE


def test_the_free_text_of_a_finding_may_change() -> None:
    about = case(inspection=inspection(found(SEEN.kind, SEEN.name, detail="other words")))

    assert disposition(policy(PASS, STRANGE), about, release=released("strange", findings=[SEEN])) is DELIVER


def test_a_finding_that_went_away_does_not_stop_it() -> None:
    assert disposition(policy(PASS, LARGE), case(), release=released("strange", "large", findings=[SEEN])) is DELIVER


def test_a_rule_that_was_not_seen_stops_it_again_and_nothing_of_it_is_released() -> None:
    said = verdict(policy(PASS, STRANGE, LARGE), ABOUT, release=released("strange", findings=[SEEN]))

    assert said.disposition is QUARANTINE
    assert all(match.waived_by is None for match in said.matches)


def test_a_new_rule_that_delivers_does_not_stop_it() -> None:
    more = rule("pass-more", "deliver")

    assert disposition(policy(PASS, more, STRANGE), ABOUT, release=released("strange", findings=[SEEN])) is DELIVER


@pytest.mark.parametrize(("approved", "expected"), [(False, QUARANTINE), (True, DELIVER)])
def test_a_final_rule_takes_a_second_person(approved: bool, expected: Disposition) -> None:
    malware = found(Kind.MALWARE, "Eicar")
    release = released("malware", findings=[malware], approved=approved)

    assert disposition(policy(PASS), case(inspection=inspection(malware)), release=release) is expected


def test_one_person_releases_what_no_rule_covered() -> None:
    assert disposition(policy(), release=released("no-rule")) is DELIVER


def test_a_release_still_counts_when_the_rule_that_was_seen_is_gone() -> None:
    assert disposition(policy(), ABOUT, release=released("strange", findings=[SEEN])) is DELIVER


def test_a_release_still_counts_when_a_waiver_takes_the_rule_that_was_seen_away() -> None:
    given = policy(STRANGE, waivers=[waiver("w", "strange")])

    assert disposition(given, ABOUT, release=released("strange", findings=[SEEN])) is DELIVER


@pytest.mark.parametrize("approved", [False, True])
def test_no_release_passes_the_brake_and_the_brake_undoes_no_release(approved: bool) -> None:
    release = released("strange", "brake", findings=[SEEN], approved=approved)
    given = policy(PASS, STRANGE)

    assert verdict(given, ABOUT, BRAKED, release=release).rules == ("brake",)
    assert disposition(given, ABOUT, release=release) is DELIVER


def test_a_release_of_what_can_not_be_inspected_today_stops() -> None:
    given = policy(PASS, rule("exe", "quarantine", attachment={"extensions": ["exe"]}))
    seen = case(inspection=inspection(attachments=[attachment("x.exe")]))
    assert disposition(given, seen, release=released("exe")) is DELIVER

    assert disposition(given, case(inspection=UNREADABLE), release=released("exe")) is QUARANTINE


def test_a_release_waits_for_the_inspectors_like_everything_else() -> None:
    said = verdict(policy(PASS, STRANGE), case(inspection=NOBODY_LOOKED), release=released("strange", findings=[SEEN]))

    assert (said.disposition, said.deferred) == (DELIVER, True)


def test_a_released_message_goes_nowhere_without_a_route() -> None:
    said = verdict(policy(PASS, LARGE, routes=[]), release=released("large"))

    assert (said.disposition, said.alert) == (HOLD, "no-route")
