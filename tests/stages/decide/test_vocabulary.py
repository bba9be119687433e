"""Lists, groups, the header, the clock and CEL in conditions; and what is observed."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from relay.decide import asks_for_authentication, asks_for_day_count, asks_for_first_times
from relay.decide.expression import variables_of
from relay.decide.facts import MessageFacts
from relay.model.authentication import Authentication, Result, SignatureResult
from relay.model.case import Case
from relay.model.client import Side
from relay.model.decision import Disposition
from relay.model.features import Header
from relay.model.finding import Kind
from relay.policy.lists import parse
from relay.policy.rules import Rule
from relay.policy.vocabulary import VARIABLES
from tests.stages.decide.cases import (
    NOBODY_LOOKED,
    PASS,
    TODAY,
    UNREADABLE,
    attachment,
    case,
    condition,
    found,
    inspection,
    policy,
    rule,
    verdict,
    waiver,
)

LISTS = {"press": parse("jan@example.nl\n"), "blocked": parse("partner.example\npattern: *@*.bad.example\n"), "bad": parse("ab" * 32)}


def holds(about: Case, **when: Any) -> bool:
    return "x" in verdict(policy(PASS, rule("x", **when), lists=LISTS), about).rules


def header(**facts: Any) -> Case:
    """A message with these header facts."""
    values: dict[str, Any] = {"from_addresses": ("jan@example.nl",), "from_fields": 1, "size": 300}
    return case(inspection=inspection(header=Header(**{**values, **facts})))


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"sender": ["list:press"]}, True),
        ({"sender": ["list:blocked"]}, False),
        ({"sender": ["list:blocked", "example.nl"]}, True),
        ({"recipient": ["list:blocked"]}, True),
        ({"header_from": ["list:press"]}, True),
        ({"group": ["press"]}, True),
        ({"group": ["blocked"]}, False),
        ({"authorised": True}, True),
        ({"authorised": False}, False),
    ],
)
def test_lists_and_groups_stand_for_their_entries(when: dict[str, Any], expected: bool) -> None:
    assert holds(case(), **when) is expected


def test_a_group_is_looked_up_by_our_side() -> None:
    inbound = case("jan@example.nl", inside=False)

    assert holds(inbound, group=["press"])
    assert not holds(case("piet@example.nl", inside=False), group=["press"])


def test_an_attachment_is_known_by_a_list_of_digests() -> None:
    about = case(inspection=inspection(attachments=[attachment()]))

    assert holds(about, attachment={"sha256": ["list:bad"]})
    assert not holds(about, attachment={"sha256": ["00" * 32]})


@pytest.mark.parametrize(
    ("facts", "when", "expected"),
    [
        ({"from_display": "Director"}, {"display_name": ["*director*"]}, True),
        ({"from_display": "Jan"}, {"display_name": ["*director*"]}, False),
        ({"to": ("piet@partner.example",)}, {"recipients": ["partner.example"]}, True),
        ({"to": ()}, {"recipients": ["partner.example"]}, False),
        ({"auto_submitted": "auto-replied; x=y"}, {"automatic": True}, True),
        ({"auto_submitted": "no"}, {"automatic": True}, False),
        ({"auto_submitted": ""}, {"automatic": False}, True),
        ({"received": 11}, {"received_more_than": 10}, True),
        ({"received": 10}, {"received_more_than": 10}, False),
        ({"message_id": "<a@b>"}, {"message_id": True}, True),
        ({"message_id": ""}, {"message_id": False}, True),
    ],
)
def test_the_header_is_asked(facts: dict[str, Any], when: dict[str, Any], expected: bool) -> None:
    assert holds(header(**facts), header=when) is expected


@pytest.mark.parametrize(
    ("display", "address", "expected"),
    [
        ("Example, afdeling X", "x@bad.example", True),
        ("EXАMPLE", "x@bad.example", True),  # a Cyrillic letter
        ("Ехample Police", "x@bad.example", True),
        ("Exámple", "x@bad.example", True),
        ("jan@example.nl", "x@bad.example", True),
        ("jan@other.nl", "x@bad.example", False),
        ("Example", "jan@example.nl", False),
        ("Piet", "x@bad.example", False),
        ("", "x@bad.example", False),
    ],
)
def test_a_name_that_looks_like_ours_before_another_address_imitates_us(display: str, address: str, expected: bool) -> None:
    assert holds(header(from_display=display, from_addresses=(address,)), header={"imitates_us": True}) is expected


@pytest.mark.parametrize(
    ("moment", "when", "expected"),
    [
        (datetime(2026, 11, 27, 8, 0, tzinfo=UTC), {"from": "09:00", "to": "17:00"}, True),  # 09:00 in Amsterdam, a Friday
        (datetime(2026, 11, 27, 7, 59, tzinfo=UTC), {"from": "09:00", "to": "17:00"}, False),
        (datetime(2026, 7, 27, 7, 0, tzinfo=UTC), {"from": "09:00"}, True),  # summer time
        (datetime(2026, 11, 27, 8, 0, tzinfo=UTC), {"days": ["sat", "sun"]}, False),
        (datetime(2026, 11, 28, 8, 0, tzinfo=UTC), {"days": ["sat", "sun"]}, True),
        (datetime(2026, 11, 28, 1, 0, tzinfo=UTC), {"days": ["fri"], "from": "22:00", "to": "06:00"}, True),  # Friday's night
        (datetime(2026, 11, 27, 1, 0, tzinfo=UTC), {"days": ["fri"], "from": "22:00", "to": "06:00"}, False),
    ],
)
def test_the_clock_is_that_of_a_place(moment: datetime, when: dict[str, Any], expected: bool) -> None:
    about = case(received_us=int(moment.timestamp() * 1e6))

    assert holds(about, time={"zone": "Europe/Amsterdam", **when}) is expected


def test_a_moment_that_is_not_known_passes_nothing() -> None:
    night = {"zone": "Europe/Amsterdam", "from": "00:00"}

    assert verdict(policy(PASS, rule("x", "reject", time=night)), case()).disposition is Disposition.QUARANTINE
    assert (
        not holds(case(), not_={"time": night}) or verdict(policy(rule("x", "deliver", time=night)), case()).disposition is Disposition.HOLD
    )


EXE = case(inspection=inspection(found(Kind.RULE, "odd"), attachments=[attachment("a.exe", size=70_000), attachment("b.pdf")]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attachments.exists(a, a.extension == 'exe' && a.size > 1000)", True),
        ("attachments.all(a, a.extension == 'exe')", False),
        ("size(attachments) == 2 && message.size == 5000", True),
        ("findings.exists(f, f.kind == 'rule' && f.name == 'odd')", True),
        ("sender.endsWith('@example.nl') && recipient.startsWith('piet@')", True),
        ("direction == 'outbound' && side == 'inside' && phase == 'open'", True),
        ("message.subject.matches('^H.l+o$') && 'jan@example.nl' in message.from_addresses", True),
        ("message.recipients == 1 && authorised && tls && client == 'exchange'", True),
    ],
)
def test_cel_says_what_the_vocabulary_lacks(text: str, expected: bool) -> None:
    assert holds(EXE, if_=text) is expected


@pytest.mark.parametrize("name", ["x.exe.", "x.exe ", "x.exe. .", "x.pdf.EXE"])
def test_cel_knows_a_program_by_the_name_that_windows_gives_it(name: str) -> None:
    about = case(inspection=inspection(attachments=[attachment(name)]))
    assert holds(about, if_="attachments.exists(a, a.extension == 'exe')")


def test_each_recipient_is_asked_for_itself() -> None:
    given = policy(PASS, rule("x", if_="recipient == 'b@partner.example' && message.size > 0"), lists=LISTS)
    from relay.decide import decide
    from tests.stages.decide.cases import EPOCH

    decision = decide(case("a@partner.example", "b@partner.example", "c@partner.example"), given, EPOCH, TODAY)

    assert [one.disposition for one in decision.verdicts] == [Disposition.DELIVER, Disposition.HOLD, Disposition.DELIVER]


@pytest.mark.parametrize(
    "text", ["message.subject == 'x'", "!(message.subject == 'x')", "attachments.exists(a, a.encrypted)", "size(findings) == 0"]
)
@pytest.mark.parametrize("about", [case(inspection=UNREADABLE), case(inspection=NOBODY_LOOKED)])
def test_what_depends_on_content_that_nobody_read_never_passes(text: str, about: Case) -> None:
    lets_pass = verdict(policy(rule("x", "deliver", if_=text)), about)

    assert lets_pass.disposition is not Disposition.DELIVER or lets_pass.deferred


@pytest.mark.parametrize("text", ["message.subject == 'x' && sender == 'nobody'", "sender == 'nobody' && message.subject == 'x'"])
def test_what_does_not_depend_on_it_is_known(text: str) -> None:
    assert verdict(policy(PASS, rule("x", if_=text)), case(inspection=UNREADABLE)).rules == ("undecidable-crash",)


def test_every_variable_that_is_declared_is_given_and_no_other() -> None:
    assert EXE.inspection is not None
    whole = replace(EXE, inspection=replace(EXE.inspection, authentication=Authentication(), first_times=(), first_times_today=0))
    given = variables_of(MessageFacts(whole, "open"))
    flat = {name for name in given if name != "message"} | {f"message.{name}" for name in given["message"]}

    assert flat == {name for name, variable in VARIABLES.items() if not variable.recipient}


def observing(**changes: Any) -> Rule:
    return replace_rule(rule("watch", "reject", tls=True), mode="observe", **changes)


def replace_rule(given: Rule, **changes: Any) -> Rule:
    return given.model_copy(update=changes)


def test_what_is_observed_is_told_and_changes_nothing() -> None:
    said = verdict(policy(PASS, observing()), case())

    assert (said.disposition, said.rules) == (Disposition.DELIVER, ("pass",))
    assert [match.rule for match in said.observed] == ["watch"]


def test_a_waiver_of_what_is_observed_says_that_it_would_not_have_mattered() -> None:
    watched = observing()
    away, other = waiver("away", "watch", tls=True), waiver("other", "watch", tls=False)

    assert verdict(policy(PASS, watched, waivers=[away]), case()).observed == ()
    assert [match.rule for match in verdict(policy(PASS, watched, waivers=[other]), case()).observed] == ["watch"]


def test_what_is_observed_and_unknown_is_neither_match_nor_unknown() -> None:
    given = policy(PASS, replace_rule(rule("watch", "reject", subject_contains=["x"]), mode="observe"))
    said = verdict(given, case(inspection=UNREADABLE))

    assert (said.rules, said.observed) == (("undecidable-crash",), ())


@pytest.mark.parametrize(
    ("since", "until", "counts"),
    [(None, TODAY, True), (TODAY, None, True), (date(2026, 11, 25), None, False), (None, date(2026, 11, 23), False)],
)
def test_a_rule_counts_on_its_days_only(since: date | None, until: date | None, counts: bool) -> None:
    said = verdict(policy(PASS, replace_rule(rule("x"), since=since, until=until)), case())

    assert (said.disposition is Disposition.HOLD) is counts


@pytest.mark.parametrize("part", ["2", "2/inner.zip/letter.docm"])
def test_an_office_document_with_macros_is_known_at_any_depth(part: str) -> None:
    macros = found(Kind.TYPE, "macro", inspector="type", part=part)
    about = case(inspection=inspection(macros, attachments=[attachment("a.zip")]))

    assert holds(about, attachment={"macro": True, "extensions": ["zip"]})
    assert holds(about, **{"if": "attachments.exists(a, a.macro)"})
    assert not holds(about, attachment={"macro": False})


def test_mail_of_lists_and_mail_that_was_here_before_are_known_by_the_header() -> None:
    about = header(list_mail=True, delivered_to=("piet@partner.example", "x@y.example"))

    assert holds(about, header={"list_mail": True})
    assert holds(about, header={"delivered_before": True})
    assert not holds(header(list_mail=False, delivered_to=("x@y.example",)), header={"delivered_before": True})
    assert holds(header(), header={"list_mail": True}), "what was recorded before these were looked for is not known, and strict"


def test_first_time_recipients_are_known_when_they_were_looked_up() -> None:
    looked_up = case(inspection=inspection(first_times=("piet@partner.example",), first_times_today=6))
    none = case(inspection=inspection(first_times=(), first_times_today=6))

    assert holds(looked_up, first_time_recipient=True)
    assert not holds(none, first_time_recipient=True)
    assert holds(none, first_time_recipient=False)
    assert holds(none, first_time_recipients_today={"more_than": 5})
    assert not holds(none, first_time_recipients_today={"more_than": 6})
    unknown = verdict(policy(PASS, rule("x", first_time_recipient=True)), case())
    assert unknown.rules == ("x",), "unknown is strict"
    assert "unknown" in unknown.because


def test_cel_knows_who_wrote_to_whom() -> None:
    looked_up = case(inspection=inspection(first_times=("piet@partner.example",), first_times_today=6))
    address = looked_up.recipients[0].mailbox.key
    first = replace(looked_up, inspection=replace(looked_up.inspection, first_times=(address,)))  # type: ignore[type-var]
    assert holds(first, if_="first_time_recipient && message.first_times_today > 5")
    assert not holds(replace(first, inspection=inspection(first_times=(), first_times_today=6)), if_="first_time_recipient")
    assert verdict(policy(PASS, rule("x", if_="first_time_recipient")), case()).rules == ("x",), "unknown is strict"
    for asked in ("first_time_recipient", "message.first_times_today > 3"):
        assert asks_for_first_times(policy(PASS, rule("x", if_=asked)), Side.INSIDE)


def test_who_wrote_to_whom_is_looked_up_only_where_a_rule_may_ask() -> None:
    outbound = policy(PASS, rule("x", direction=["outbound"], all=[{"first_time_recipient": True}]))
    anywhere = policy(PASS, waivers=[waiver("w", "x", not_={"first_time_recipients_today": {"more_than": 3}})])

    assert [asks_for_first_times(given, side) for given in (policy(PASS), outbound, anywhere) for side in (Side.INSIDE, Side.OUTSIDE)] == [
        False,
        False,
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("when", "asks"),
    [
        ({"first_time_recipient": True, "first_time_recipients_today": {"more_than": 3}}, False),
        ({"any": [{"first_time_recipient": True, "first_time_recipients_today": {"more_than": 3}}]}, False),
        ({"if": "first_time_recipient"}, False),
        ({"first_time_recipients_today": {"more_than": 3}}, True),
        ({"first_time_recipient": False, "first_time_recipients_today": {"more_than": 3}}, True),
        ({"first_time_recipient": True, "any": [{"first_time_recipients_today": {"more_than": 3}}]}, True),
        ({"if": "first_time_recipient && message.first_times_today > 3"}, True),
    ],
)
def test_the_number_of_the_day_is_asked_for_where_it_matters_without_a_first_time(when: dict[str, Any], asks: bool) -> None:
    large = rule("x", larger_than=1)
    for given in (policy(PASS, rule("x", **when)), policy(PASS, large.model_copy(update={"unless": condition(**when)}))):
        assert asks_for_day_count(given) is asks
        if not asks:  # then it makes no difference
            of_known = [case(inspection=inspection(first_times=(), first_times_today=number)) for number in (None, 0, 9)]
            assert len({verdict(given, one).disposition for one in of_known}) == 1


def test_a_place_in_a_list_that_is_not_there_is_unknown_and_strict() -> None:
    """The interpreter says IndexError, which no other error of it is."""
    said = verdict(policy(PASS, rule("x", if_="attachments[9].name == 'a'")), case())
    assert said.rules == ("x",)
    assert "unknown" in said.because


AUTHENTICATION = Authentication(Result.SOFTFAIL, Result.PASS, Result.FAIL, "reject", "x.example", "y.example")


def authenticated(found: Authentication | None = AUTHENTICATION) -> Case:
    return case("jan@example.nl", inside=False, inspection=inspection(authentication=found))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"spf": ["softfail"]}, True),
        ({"spf": ["fail", "none"]}, False),
        ({"dkim": ["pass"]}, True),
        ({"dmarc": ["fail"], "dmarc_policy": ["quarantine", "reject"]}, True),
        ({"dmarc": ["fail"], "dmarc_policy": ["none"]}, False),
        ({"dmarc": ["fail"], "dkim": ["fail"]}, False),
    ],
)
def test_what_authentication_said_is_asked_by_its_words(asked: dict[str, list[str]], expected: bool) -> None:
    assert holds(authenticated(), authentication=asked) is expected


def test_cel_knows_what_authentication_said() -> None:
    assert holds(authenticated(), if_="message.spf == 'softfail' && message.dkim == 'pass' && message.dmarc_policy == 'reject'")
    assert not holds(authenticated(), if_="message.dmarc == 'pass'")


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        (None, {"authentication": {"dkim": ["fail"]}}),
        (None, {"not_": {"authentication": {"dkim": ["pass"]}}}),
        (None, {"if_": "message.spf == 'fail'"}),
        (replace(AUTHENTICATION, spf=None), {"authentication": {"spf": ["fail"]}}),
        (replace(AUTHENTICATION, dmarc=None), {"authentication": {"dmarc": ["fail"]}}),
        (replace(AUTHENTICATION, dmarc=None), {"if_": "message.dmarc == 'fail'"}),
        (replace(AUTHENTICATION, dmarc=Result.TEMPERROR, policy=""), {"authentication": {"dmarc_policy": ["reject"]}}),
    ],
)
def test_what_nobody_could_verify_is_not_known_and_strict(found: Authentication | None, asked: dict[str, Any]) -> None:
    said = verdict(policy(PASS, rule("x", "quarantine", **asked)), authenticated(found))
    assert said.rules == ("x",)
    assert "unknown" in said.because
    lets_pass = verdict(policy(rule("x", "deliver", **asked)), authenticated(found))
    assert lets_pass.disposition is not Disposition.DELIVER


def test_it_is_asked_of_mail_from_outside_only_and_only_where_a_rule_may_ask() -> None:
    asks: dict[str, Any] = {"authentication": {"dmarc": ["fail"]}}
    asking = (
        policy(PASS, rule("x", **asks)),
        policy(PASS, rule("x", all=[{"not": asks}])),
        policy(PASS, rule("x", if_="message.dkim == 'fail'")),
        policy(PASS, waivers=[waiver("w", "x", **asks)]),
    )
    others = (policy(PASS), policy(PASS, rule("x", if_="message.subject == 'y'")), policy(PASS, rule("x", direction=["outbound"], **asks)))
    assert [asks_for_authentication(given, Side.OUTSIDE) for given in asking + others] == [True] * 4 + [False] * 3
    assert not any(asks_for_authentication(given, Side.INSIDE) for given in asking)


def test_what_was_known_is_recorded_and_read_back() -> None:
    found = replace(AUTHENTICATION, spf=None, signatures=(SignatureResult("y.example", "s1", Result.PASS),))
    whole = inspection(authentication=found)
    assert type(whole).from_json(json.loads(json.dumps(whole.to_json()))) == whole
    assert "authentication" not in inspection().to_json()


@pytest.mark.parametrize("others", [(), (rule("other", if_="attachments.exists(a, a.sha256 == 'x' || a.part == 'y')"),)])
@pytest.mark.parametrize(("text", "expected"), [("attachments[0] == attachments[1]", False), ("attachments[1] == attachments[1]", True)])
def test_what_is_compared_whole_is_compared_in_all_its_fields_whatever_other_rules_ask(
    text: str, expected: bool, others: tuple[Rule, ...]
) -> None:
    one, two = attachment("a.exe"), attachment("b.exe", sha256="cd" * 32)
    about = case(inspection=inspection(attachments=[one, replace(two, part="3")]))

    assert ("x" in verdict(policy(PASS, rule("x", if_=text), *others), about).rules) is expected
