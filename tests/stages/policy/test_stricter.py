"""Which changes one person may put in force: those that can only close, and nothing that is not proved to."""

from datetime import date
from typing import Any

import pytest

from relay.policy.lists import EntryList
from relay.policy.models import Condition, Policy, Recipients
from relay.policy.parties import RecipientCheck
from relay.policy.stricter import why_not_only_stricter
from tests.stages.decide.cases import PASS, policy, rule, waiver

HOLD = rule("hold", sender=["partner.example"])
LATE, SOON = date(2030, 1, 31), date(2028, 1, 31)


def lists(*entries: str) -> dict[str, EntryList]:
    return {"some": EntryList(frozenset(entries))}


ONE, TWO = lists("a.example"), lists("a.example", "b.example")
STOPS = rule("stops", sender=["list:some"])
SPARES = rule("spares").model_copy(update={"unless": Condition(sender=("list:some",))})
LETS = rule("lets", "deliver", sender=["list:some"])
ROUTED = LETS.model_copy(update={"route": "out"})
EXCEPT = rule("stops", not_={"group": ["some"]})
TAKES = waiver("takes", "hold", recipient=["list:some"])
CHECKED = (Recipients(domains=("example.nl",), check=RecipientCheck.LIST, file="lists/some.txt"),)

CLOSES = {
    "nothing": (policy(PASS), policy(PASS)),
    "a rule is added that holds": (policy(PASS), policy(PASS, HOLD)),
    "an observed rule comes into force": (policy(PASS, HOLD.model_copy(update={"mode": "observe"})), policy(PASS, HOLD)),
    "an observed rule goes": (policy(PASS, HOLD.model_copy(update={"mode": "observe"})), policy(PASS)),
    "a waiver goes": (policy(HOLD, waivers=[waiver("w", "hold")]), policy(HOLD)),
    "a waiver ends sooner": (
        policy(HOLD, waivers=[waiver("w", "hold", until=LATE)]),
        policy(HOLD, waivers=[waiver("w", "hold", until=SOON)]),
    ),
    "a list of what is stopped grows": (policy(STOPS, lists=ONE), policy(STOPS, lists=TWO)),
    "a list of what is let through shrinks": (policy(LETS, lists=TWO), policy(LETS, lists=ONE)),
    "a list of exceptions shrinks": (policy(SPARES, lists=TWO), policy(SPARES, lists=ONE)),
    "a list under not shrinks": (policy(EXCEPT, lists=TWO), policy(EXCEPT, lists=ONE)),
    "a list of a waiver shrinks": (policy(HOLD, waivers=[TAKES], lists=TWO), policy(HOLD, waivers=[TAKES], lists=ONE)),
    "a list of recipients who exist shrinks": (policy(PASS, recipients=CHECKED, lists=TWO), policy(PASS, recipients=CHECKED, lists=ONE)),
    "a list comes that nothing asked for": (policy(PASS), policy(PASS, STOPS, lists=ONE)),
    "a list changes that nothing asks for": (policy(PASS, lists=ONE), policy(PASS, lists=lists("c.example"))),
}
OPENS = {
    "a rule is added that delivers": (policy(HOLD), policy(HOLD, PASS)),
    "a rule goes": (policy(PASS, HOLD), policy(PASS)),
    "a rule is only observed now": (policy(PASS, HOLD), policy(PASS, HOLD.model_copy(update={"mode": "observe"}))),
    "a rule asks for more": (policy(PASS, HOLD), policy(PASS, rule("hold", sender=["partner.example"], tls=False))),
    "a waiver comes": (policy(HOLD), policy(HOLD, waivers=[waiver("w", "hold")])),
    "a waiver ends later": (
        policy(HOLD, waivers=[waiver("w", "hold", until=SOON)]),
        policy(HOLD, waivers=[waiver("w", "hold", until=LATE)]),
    ),
    "a waiver holds more often": (policy(HOLD, waivers=[waiver("w", "hold", tls=True)]), policy(HOLD, waivers=[waiver("w", "hold")])),
    "a list of what is stopped shrinks": (policy(STOPS, lists=TWO), policy(STOPS, lists=ONE)),
    "a list of what is let through grows": (policy(LETS, lists=ONE), policy(LETS, lists=TWO)),
    "a list of what a route is for shrinks": (policy(ROUTED, lists=TWO), policy(ROUTED, lists=ONE)),
    "a list of exceptions grows": (policy(SPARES, lists=ONE), policy(SPARES, lists=TWO)),
    "a list of a waiver grows": (policy(HOLD, waivers=[TAKES], lists=ONE), policy(HOLD, waivers=[TAKES], lists=TWO)),
    "a list of recipients who exist grows": (policy(PASS, recipients=CHECKED, lists=ONE), policy(PASS, recipients=CHECKED, lists=TWO)),
    "a list that stops and lets through grows": (policy(STOPS, LETS, lists=ONE), policy(STOPS, LETS, lists=TWO)),
    "a list that an expression may mean changes": (
        policy(rule("cel", if_="sender == 'some'"), lists=ONE),
        policy(rule("cel", if_="sender == 'some'"), lists=TWO),
    ),
    "anything else changes": (policy(PASS), policy(PASS, routes=())),
}


@pytest.mark.parametrize("change", CLOSES.values(), ids=CLOSES.keys())
def test_what_only_closes_takes_one_person(change: tuple[Policy, Policy]) -> None:
    assert why_not_only_stricter(*change) == ""


@pytest.mark.parametrize("change", OPENS.values(), ids=OPENS.keys())
def test_what_may_open_takes_two(change: tuple[Policy, Policy]) -> None:
    assert why_not_only_stricter(*change) != ""


def test_the_reason_names_what_is_not_proved() -> None:
    told: Any = why_not_only_stricter(policy(PASS, HOLD), policy(PASS))

    assert told == "the rule 'hold' went"
