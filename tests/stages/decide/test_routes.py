"""What is delivered has one route; without one, or with two, it waits and somebody is told."""

from relay.model.decision import Disposition
from relay.policy.models import Route
from tests.stages.decide.cases import PASS, case, policy, rule, verdict, waiver

INSIDE = Route(name="inside", to=("example.nl",), smart_host="mail.example.nl:25")
COURT = Route(name="court", to=(), smart_host="mail.court.example:25")
OUT = Route(name="out", to=("*",))


def test_the_first_route_that_leads_there_is_taken() -> None:
    given = policy(PASS, routes=[INSIDE, OUT, COURT])

    assert verdict(given, case("a@example.nl")).route == "inside"
    assert verdict(given, case("a@partner.example")).route == "out"


def test_a_rule_can_name_another() -> None:
    given = policy(PASS, rule("to-court", "deliver", route="court", partner=["court"]), routes=[OUT, COURT])

    assert verdict(given, case("a@court.example")).route == "court"
    assert verdict(given, case("a@partner.example")).route == "out"


def test_two_rules_may_name_the_same_route() -> None:
    rules = [rule(name, "deliver", route="court") for name in ("one", "two")]

    assert verdict(policy(*rules, routes=[OUT, COURT])).route == "court"


def test_two_rules_that_name_different_routes_hold_with_an_alert_in_every_order() -> None:
    rules = [rule("one", "deliver", route="court"), rule("two", "deliver", route="out")]
    for order in (rules, rules[::-1]):
        said = verdict(policy(*order, routes=[OUT, COURT]))

        assert (said.disposition, said.alert, said.route) == (Disposition.HOLD, "several-routes", None)


def test_without_a_route_mail_waits_with_an_alert() -> None:
    said = verdict(policy(PASS, routes=[INSIDE]), case("a@partner.example"))

    assert (said.disposition, said.alert, said.route) == (Disposition.HOLD, "no-route", None)


def test_a_rule_that_is_not_the_strictest_names_no_route() -> None:
    said = verdict(policy(rule("one", "deliver", route="court"), rule("wait"), routes=[OUT, COURT]))

    assert (said.disposition, said.route) == (Disposition.HOLD, None)


def test_what_a_waiver_lets_through_takes_the_route_of_the_rules_that_are_left() -> None:
    given = policy(rule("one", "deliver", route="court"), rule("wait"), waivers=[waiver("w", "wait")], routes=[OUT, COURT])

    assert verdict(given).route == "court"
