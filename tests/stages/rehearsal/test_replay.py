"""What replay says of a difference and what it can't say: by rule, by condition, with no more messages than asked for."""

import html
import json
import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest

from relay.model.authentication import Authentication, Result
from relay.model.case import Case
from relay.model.client import Side
from relay.model.decision import Disposition, Epoch, Match, Verdict
from relay.model.finding import Kind
from relay.model.plain_json import json_value
from relay.policy.models import InspectionPolicy, Policy, Route, Rule
from relay.rehearsal.replay.causes import causes
from relay.rehearsal.replay.counts import MOST_NAMES, OTHERS, Change, Counts, Example
from relay.rehearsal.replay.page import page
from tests.fakes.custody import NOW_US
from tests.stages.decide.cases import BRAKED, EPOCH, PASS, attachment, found, inspection, released, rule, waiver
from tests.stages.decide.cases import case as case_of
from tests.stages.decide.cases import policy as policy_of
from tests.stages.rehearsal.records import again, client, recorded

DAY_US = 86_400 * 1_000_000
BODY_SECRETS = ("piet@partner.example", "jan@example.nl")


def case(*recipients: str, **changes: Any) -> Case:
    return replace(case_of(*recipients), side=Side.INSIDE, **changes)


def policy(*rules: Rule, **changes: Any) -> Policy:
    return policy_of(*rules, **{"clients": (client(),), **changes})


OLD = policy(PASS)


def summary(new: Policy, *rows: Any, **asked: Any) -> dict[str, Any]:
    return again(new, rows or [recorded(case(), OLD, EPOCH)], **asked).summary()


def flows(told: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(flow["was"], flow["now"]): flow["recipients"] for flow in told["flows"]}


def test_a_new_rule_is_told_with_what_it_changes_and_the_messages() -> None:
    told = summary(policy(PASS, rule("big", "hold", larger_than=1000)))

    assert flows(told) == {("deliver", "hold"): 1}
    (change,) = told["changes"]
    assert (change["rule"], change["how"], change["was"], change["now"], change["recipients"]) == (
        "big",
        "matches now",
        "deliver",
        "hold",
        1,
    )
    (example,) = change["newest"]
    assert (example["was_by"], example["now_by"], example["because"]) == (["pass"], ["big"], "rule big")
    assert {one["rule"]: (one["matched"], one["matches"], one["stricter"]) for one in told["rules"]} == {
        "big": (0, 1, 1),
        "pass": (1, 1, 0),
    }
    assert "sender" not in example, "who wrote to whom is not told without a reason"
    assert not any(secret in json.dumps(told) for secret in BODY_SECRETS)


def test_who_wrote_to_whom_is_told_where_it_was_asked_for() -> None:
    told = summary(policy(PASS, rule("big", "hold", larger_than=1000)), whom=True)

    assert [told["changes"][0]["newest"][0][key] for key in ("recipient", "sender")] == list(BODY_SECRETS)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((PASS, rule("a", "hold")), (PASS,), [("a", "matches no more")]),
        ((PASS, rule("a", "hold")), (PASS, rule("a", "quarantine")), [("a", "says something else")]),
        ((PASS, rule("a", "reject")), (PASS, rule("a", "quarantine")), [("a", "says something else")]),
        ((PASS, rule("a", "hold"), rule("b", "hold")), (PASS,), [("a", "matches no more"), ("b", "matches no more")]),
        ((), (PASS,), [("no-rule", "matches no more"), ("pass", "matches now")]),
        ((PASS,), (), [("no-rule", "matches now"), ("pass", "matches no more")]),
    ],
)
def test_each_difference_is_due_to_the_rules_that_carry_it(
    before: tuple[Rule, ...], after: tuple[Rule, ...], expected: list[tuple[str, str]]
) -> None:
    told = summary(policy(*after), recorded(case(), policy(*before), EPOCH))

    assert [(one["rule"], one["how"]) for one in told["changes"]] == expected


def test_a_waiver_that_came_or_went_is_told_as_such() -> None:
    bare, waived = policy(PASS, rule("a", "hold")), policy(PASS, rule("a", "hold"), waivers=[waiver("w", "a")])

    assert [one["how"] for one in summary(waived, recorded(case(), bare, EPOCH))["changes"]] == ["is waived now"]
    assert [one["how"] for one in summary(bare, recorded(case(), waived, EPOCH))["changes"]] == ["is waived no more"]


def test_a_route_that_is_gone_and_one_that_is_another_are_told() -> None:
    gone = summary(policy(PASS, routes=()))
    assert [(one["rule"], one["was"], one["now"]) for one in gone["changes"]] == [("(routes)", "deliver", "hold")]

    moved = summary(policy(PASS, routes=[Route(name="side", to=("*",))]))
    assert (moved["differ"], moved["routes"]) == (0, [{"was": "out", "now": "side", "recipients": 1}])


def test_dates_phase_and_brake_are_those_of_the_decision() -> None:
    day = date(2026, 11, 24)
    only = policy(
        PASS, rule("that-day", "hold").model_copy(update={"since": day, "until": day}), rule("shut", "quarantine", phase=["closed"])
    )
    moments = [NOW_US + shift * DAY_US for shift in range(-3, 4)]
    rows = [recorded(case(), only, epoch, moment) for moment in moments for epoch in (EPOCH, BRAKED, Epoch("0" * 64, "closed"))]

    told = summary(only, *rows)
    assert told["differ"] == told["not_known"] == 0
    assert sum(number for (was, _), number in flows(told).items() if was == "hold") > len(moments)
    assert flows(summary(only, *rows, phase="closed")).get(("deliver", "quarantine")), "as if it had held all the time"


def test_a_release_that_the_decision_rests_on_counts_and_a_later_one_does_not() -> None:
    old = policy(PASS, rule("js", "quarantine"))
    with_it = recorded(case(), old, EPOCH, releases={0: released("js")})
    message, (later,) = recorded(case(), old, EPOCH)
    later.release, later.state = with_it[1][0].release, "undecided"

    told = summary(old, with_it, (message, [later]))
    assert flows(told) == {("deliver", "deliver"): 1, ("quarantine", "quarantine"): 1}


def test_a_release_that_another_one_has_replaced_since_is_no_guess() -> None:
    old = policy(PASS, rule("js", "quarantine"))
    message, (row,) = recorded(case(), old, EPOCH, releases={0: released("js")})
    row.release = {**row.release, "request": "a-later-one"}

    assert unanswered(summary(old, (message, [row]))) == {"(an earlier release)": 1}


def test_half_a_surrogate_pair_in_an_old_record_is_read() -> None:
    assert json_value('{"subject": "\\ud83d"}') == {"subject": "\ud83d"}
    with pytest.raises(ValueError):
        json_value("{")


def test_the_header_from_is_judged_by_the_clients_of_the_new_policy() -> None:
    told = summary(policy(PASS, clients=(client(may_send_as=("example.org",)),)))

    assert [(one["rule"], one["now"]) for one in told["changes"]] == [("header", "reject")]
    back = summary(OLD, recorded(case(), policy(PASS, clients=(client(may_send_as=("example.org",)),)), EPOCH))
    assert flows(back) == {("reject", "deliver"): 1}


def test_an_observed_rule_changes_nothing_and_is_told_with_what_it_would_say() -> None:
    trial = rule("trial", "reject", larger_than=1000).model_copy(update={"mode": "observe"})
    told = summary(policy(PASS, trial))

    assert (told["differ"], told["not_known"]) == (0, 0)
    assert told["observed"] == [{"rule": "trial", "would": "reject", "now": "deliver", "recipients": 1}]
    assert "trial" not in {one["rule"] for one in told["rules"]}


def unanswered(told: dict[str, Any]) -> dict[str, int]:
    assert sum(flow["recipients"] for flow in told["flows"] if flow["now"] == "not known") == told["not_known"]
    return {one["condition"]: one["recipients"] for one in told["unanswered"]}


def test_an_inspector_that_nobody_asked_then_is_no_guess() -> None:
    wants = policy(PASS, inspection=InspectionPolicy(outbound=("yara", "type", "archive", "clamd")))
    assert unanswered(summary(wants)) == {"inspector clamd": 1}
    assert summary(wants)["differ"] == 0

    stricter = wants.model_copy(update={"rules": (PASS, rule("all", "hold"))})
    assert flows(summary(stricter)) == {("deliver", "hold"): 1}, "what it would have found can't make it milder"
    late = case(inspection=inspection(answered=("type", "archive"), unavailable=("yara",)))
    assert flows(summary(wants.model_copy(update={"inspection": InspectionPolicy()}), recorded(late, OLD, EPOCH))) == {
        ("defer", "defer"): 1
    }


def test_what_nobody_verified_then_is_not_known_and_what_was_is_decided_on() -> None:
    strict = policy(PASS, rule("forged", "quarantine", direction=["inbound"], authentication={"dmarc": ["fail"]}))
    before, passed, failed = (
        recorded(replace(case("jan@example.nl", inspection=inspection(authentication=found)), side=Side.OUTSIDE), OLD, EPOCH)
        for found in (None, Authentication(dmarc=Result.PASS), Authentication(dmarc=Result.FAIL))
    )
    assert unanswered(summary(strict, before)) == {"authentication": 1}
    assert flows(summary(strict, passed)) == {("deliver", "deliver"): 1}
    assert flows(summary(strict, failed)) == {("deliver", "quarantine"): 1}
    assert summary(strict, recorded(case(), OLD, EPOCH))["not_known"] == 0, "it is not asked of our own mail"


def test_a_field_that_an_older_record_lacks_is_counted_by_the_condition_that_asks_for_it() -> None:
    message, rows = recorded(case(inspection=inspection(attachments=[attachment("a.zip")])), OLD, EPOCH)
    del message.inspection["attachments"][0]["encrypted"]
    del message.inspection["header"]["received"]
    row = (message, rows)

    assert unanswered(summary(policy(PASS, rule("enc", "quarantine", attachment={"encrypted": True})), row)) == {"attachment": 1}
    assert unanswered(summary(policy(PASS, rule("loop", "hold", header={"received_more_than": 20})), row)) == {"header": 1}
    assert unanswered(summary(policy(PASS, rule("expr", "hold", if_="message.received > 20")), row)) == {"if": 1}
    for asked in ({"first_time_recipient": True}, {"first_time_recipients_today": {"more_than": 2}}):
        assert unanswered(summary(policy(PASS, rule("new", "hold", **asked)), row)) == {next(iter(asked)): 1}
    unasked = policy(PASS, rule("exe", "quarantine", attachment={"extensions": ["exe"]}), rule("subject", "hold", subject_contains=["x"]))
    assert (summary(unasked, row)["not_known"], summary(unasked, row)["differ"]) == (0, 0)
    elsewhere = policy(PASS, rule("enc", "quarantine", direction=["inbound"], attachment={"encrypted": True}))
    assert summary(elsewhere, row)["not_known"] == 0, "it can't hold, whatever the record lacks"


def test_a_phase_that_the_policy_no_longer_has_matters_where_it_is_asked_for() -> None:
    row = recorded(case(), OLD, Epoch("0" * 64, "partners"))

    assert unanswered(summary(policy(PASS, rule("shut", "hold", phase=["closed"])), row)) == {"phase": 1}
    assert flows(summary(policy(PASS), row)) == {("deliver", "deliver"): 1}
    assert flows(summary(policy(PASS, rule("shut", "hold", phase=["closed"])), row, phase="open")) == {("deliver", "deliver"): 1}


def test_what_is_erased_rebuilt_gone_or_not_to_be_read_is_counted_as_such() -> None:
    erased, rebuilt, broken = (recorded(case(), OLD, EPOCH) for _ in range(3))
    erased[0].inspection = {}
    rebuilt[1][0].rules = [{"rule": "rebuilt", "disposition": "quarantine", "because": "x", "final": False, "waived_by": None}]
    broken[0].inspection = {"header": 5, "attachments": 7}
    told = summary(OLD, erased, rebuilt, broken)
    assert unanswered(told) == {"(erased)": 1, "(rebuilt from the spool)": 1, "(the record can't be read)": 1}

    left = summary(policy(PASS, rule("all", "hold"), clients=(client("other"),)))
    assert unanswered(left) == {"client": 1}


def test_a_day_that_an_older_record_does_not_tell_matters_where_the_policy_changes_between_the_possible_ones() -> None:
    late = rule("late", "hold").model_copy(update={"since": date(2026, 11, 26)})
    message, (row,) = recorded(case(), OLD, EPOCH, decided_us=NOW_US)
    row.decided_us, row.changed_us = None, NOW_US + 30 * DAY_US

    assert unanswered(summary(policy(PASS, late), (message, [row]))) == {"(the day of the decision)": 1}
    row.changed_us = NOW_US
    assert summary(policy(PASS, late), (message, [row]))["not_known"] == 0


def test_before_it_was_recorded_whether_a_decision_was_put_off_its_state_tells() -> None:
    message, (row,) = recorded(case(inspection=inspection(answered=("type",))), OLD, EPOCH)
    row.deferred = None

    assert row.state == "refused"
    assert flows(summary(OLD, (message, [row]))) == {("defer", "defer"): 1}


def test_no_more_messages_are_kept_than_asked_for_and_the_newest() -> None:
    counts, change = Counts(3), Change("a", "matches now", "deliver", "hold")
    for number in range(1000):
        counts.note(change, Example(f"{number:032x}", 0, number, "deliver", "hold", (), (), ""))
    assert len(counts.examples[change]) < 20, "while it goes on, too"
    total = Counts(3)
    total.add(counts)
    assert [int(example.message, 16) for example in total.examples[change]] == [999, 998, 997]
    assert total.changes[change] == 1000


def test_names_without_number_take_no_memory_without_bound() -> None:
    total = Counts(1)
    for part in range(3):
        counts = Counts(1)
        for number in range(MOST_NAMES):
            name = f"rule-{part}-{number}"
            counts.note(Change(name, "", "deliver", "hold"), Example(name, 0, 0, "deliver", "hold", (), (), ""))
            counts.note_unknown(name, Example(name, 0, 0, "deliver", "not known", (), (), ""))
            counts.matched[name] += 1
        total.add(counts)
    assert all(len(found) <= MOST_NAMES + 2 for found in (total.changes, total.unanswered, total.matched, total.examples))
    assert total.changes[Change(OTHERS, "", "deliver", "hold")] == 2 * MOST_NAMES
    assert total.changes.total() == 3 * MOST_NAMES


def test_a_difference_of_a_kind_that_no_rule_explains_is_still_told() -> None:
    told = causes([], "hold", Verdict(Disposition.QUARANTINE, (Match("x", Disposition.HOLD, ""),)), "quarantine")

    assert told == [Change("(otherwise)", "", "hold", "quarantine")]


HOSTILE = '<script>alert(1)</script><img src=x onerror="a()">&\'"\u202e\x1b[2J'


def report(**changes: Any) -> str:
    new = policy(PASS, rule("big", "hold", larger_than=1000, because=HOSTILE))
    rows = [recorded(case(sender=f"{'a' * 20}@example.nl"), OLD, EPOCH), recorded(case(size=10), OLD, EPOCH)]
    told = again(new, rows, whom=True).summary()
    told["changes"][0]["newest"][0] |= {"recipient": HOSTILE, "sender": HOSTILE}
    told["unanswered"] = [{"condition": HOSTILE, "recipients": 1}]
    told["routes"] = [{"was": HOSTILE, "now": HOSTILE, "recipients": 1}]
    told["observed"] = [{"rule": HOSTILE, "would": HOSTILE, "now": "deliver", "recipients": 1}]
    return page({"policy": "ab" * 32, "since": None, "until": None, "phase": HOSTILE, "rule": None, **told} | changes)


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "path"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_runs_nothing_loads_nothing_and_shows_hostile_text_as_text() -> None:
    text = report()
    parsed = Tags()
    parsed.feed(text)

    assert parsed.open == []
    names = {name for name, _ in parsed.tags}
    assert names.isdisjoint({"script", "img", "link", "iframe", "object", "a", "base", "form", "input"})
    attributes = {key for _, attrs in parsed.tags for key in attrs}
    assert not any(key.startswith("on") or key in ("src", "href", "style") for key in attributes)
    assert "url(" not in text
    assert "http:" not in text
    assert "https:" not in text
    assert "<script" not in text.replace(html.escape("<script"), "")
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "default-src 'none'" in html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', text)[0])
    assert parsed.text.count("<script>alert(1)</script>") >= 7


def test_what_the_pictures_show_stands_beside_them_as_a_table() -> None:
    parsed = Tags()
    parsed.feed(report())

    pictures = [attrs for name, attrs in parsed.tags if name == "svg"]
    assert len(pictures) == 2, "all decisions, and those that differ"
    assert all(attrs["role"] == "img" and attrs["aria-labelledby"] for attrs in pictures)
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids)) == 4
    assert "1 deliver to hold" in parsed.text
    assert all(attrs.get("scope") == "col" for name, attrs in parsed.tags if name == "th")


def test_a_record_without_messages_is_a_report_too() -> None:
    text = page({"policy": "ab" * 32, "since": None, "until": None, "phase": None, "rule": None, **Counts().summary()})

    assert "no message of that time" in text
    assert "<svg" not in text


def test_inspection_of_its_own_counts_for_who_was_decided_on_it() -> None:
    old = policy(PASS)
    message, rows = recorded(case("a@partner.example", "b@partner.example"), old, EPOCH)
    before = message.inspection
    message.inspection = json.loads(json.dumps(inspection(found(Kind.MALWARE)).to_json()))
    rows[0].inspection = before
    rows[1].disposition, rows[1].rules, rows[1].route = "quarantine", [], None

    assert flows(summary(old, (message, rows))) == {("deliver", "deliver"): 1, ("quarantine", "quarantine"): 1}
