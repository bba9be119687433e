"""A change that one person may put in force makes no decision milder, whatever the two policies and the message are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.decide import decide_at_rcpt
from relay.model.case import Case
from relay.model.decision import Epoch, Release
from relay.policy.lists import EntryList
from relay.policy.models import Condition, Policy, Rule
from relay.policy.stricter import why_not_only_stricter
from tests.properties.test_decide_order import (
    CASES,
    CONDITIONS,
    EPOCHS,
    POLICIES,
    RELEASES,
    RULES,
    WAIVERS,
    strictness,
    verdicts,
)
from tests.stages.decide.cases import TODAY, condition

ENTRIES = st.lists(st.sampled_from(["piet@partner.example", "court.example", "example.nl", "jan@example.nl"]), max_size=3)
LISTS = st.fixed_dictionaries({name: ENTRIES.map(lambda entries: EntryList(frozenset(entries))) for name in ("one", "two")})
LISTED: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(
        st.sampled_from(["sender", "recipient", "header_from"]).flatmap(
            lambda key: st.sampled_from([["list:one"], ["list:two"], ["list:one", "partner.example"]]).map(lambda value: {key: value})
        ),
        st.sampled_from([["one"], ["two"]]).map(lambda value: {"group": value}),
        st.just({"header": {"recipients": ["list:one"]}}),
        st.just({"tls": True}),
    ),
    lambda inner: st.one_of(st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=2)}), st.fixed_dictionaries({"not": inner})),
    max_leaves=3,
).map(lambda when: condition(**when))


def _asking(one: Any, when: Condition, unless: Condition | None) -> Any:
    """The same rule or waiver with a condition that refers to lists."""
    return one.model_copy(update={"when": when, **({"unless": unless} if isinstance(one, Rule) else {})})


LISTING_RULES = st.builds(_asking, RULES, LISTED, st.none() | LISTED)
LISTING_WAIVERS = st.builds(_asking, WAIVERS, LISTED | CONDITIONS, st.none())


@st.composite
def changes(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """Two policies, the second made from the first by a few changes, of which many only close."""
    before = draw(POLICIES)
    more = draw(st.lists(LISTING_RULES, max_size=3))
    rules = {rule.name: rule for rule in (*before.rules, *more)}
    rules = {
        name: rule.model_copy(update={"mode": draw(st.sampled_from(["enforce", "enforce", "observe"]))}) for name, rule in rules.items()
    }
    waivers = {waiver.name: waiver for waiver in (*before.waivers, *draw(st.lists(LISTING_WAIVERS, max_size=2)))}
    lists = draw(LISTS)
    before = before.model_copy(update={"rules": tuple(rules.values()), "waivers": tuple(waivers.values()), "lists": lists})
    return before, before.model_copy(update=_changed(draw, rules, waivers, lists))


def _changed(draw: st.DrawFn, rules: Mapping[str, Any], waivers: Mapping[str, Any], lists: Mapping[str, EntryList]) -> dict[str, Any]:
    rules, waivers, lists = dict(rules), dict(waivers), dict(lists)
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.sampled_from(["add", "add", "drop", "switch", "waiver", "waiver-gone", "shorter", "grow", "shrink", "list"])):
            case "add":
                added = draw(RULES | LISTING_RULES)
                rules.setdefault(added.name, added)
            case "drop" if rules:
                del rules[draw(st.sampled_from(sorted(rules)))]
            case "switch" if rules:
                name = draw(st.sampled_from(sorted(rules)))
                rules[name] = rules[name].model_copy(update={"mode": "observe" if rules[name].mode == "enforce" else "enforce"})
            case "waiver":
                added = draw(LISTING_WAIVERS)
                waivers.setdefault(added.name, added)
            case "waiver-gone" if waivers:
                del waivers[draw(st.sampled_from(sorted(waivers)))]
            case "shorter" if waivers:
                name = draw(st.sampled_from(sorted(waivers)))
                waivers[name] = waivers[name].model_copy(update={"until": TODAY.replace(year=draw(st.sampled_from([2020, 2031])))})
            case "grow":
                lists["one"] = EntryList(lists["one"].literal | frozenset(draw(ENTRIES)))
            case "shrink":
                lists["one"] = EntryList(lists["one"].literal - frozenset(draw(ENTRIES)))
            case "list":
                lists["two"] = EntryList(frozenset(draw(ENTRIES)))
    return {"rules": tuple(rules.values()), "waivers": tuple(waivers.values()), "lists": lists}


@settings(max_examples=250)
@given(changes(), st.lists(CASES, min_size=4, max_size=4), EPOCHS, RELEASES)
def test_what_is_called_only_stricter_makes_no_decision_milder_at_rcpt_or_after_data(
    change: tuple[Policy, Policy], several: list[Case], epoch: Epoch, release: Release | None
) -> None:
    before, after = change
    if why_not_only_stricter(before, after):
        return  # half of them; drawing another would cost as much again

    for about in several:
        for given_release in {None, release}:
            old, new = (verdicts(about, policy, epoch, given_release) for policy in (before, after))
            assert all(strictness(later) >= strictness(earlier) for earlier, later in zip(old, new, strict=True))
        envelope = replace(about, inspection=None)
        if decide_at_rcpt(envelope, before, epoch, TODAY) is not None:
            assert decide_at_rcpt(envelope, after, epoch, TODAY) is not None
