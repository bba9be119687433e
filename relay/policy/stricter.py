"""Whether a change of policy can only make decisions stricter: then one person may put it in force (promise 9: one closes, two open).

It is proved, never guessed: what this file does not know of takes a second person. Provable are rules that are added and say more than
deliver, waivers that go, end sooner or name fewer rules, and lists that grow or shrink where that can only close.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from pydantic import BaseModel

from relay.model.decision import Disposition
from relay.policy.base import LIST
from relay.policy.conditions import Condition
from relay.policy.lists import FOLDER as LISTS
from relay.policy.lists import EntryList
from relay.policy.models import Policy
from relay.policy.rules import Rule, Waiver

ELSEWHERE = ("digest", "lists", "rules", "waivers")
"""The parts of a policy that are compared one by one. All others must be the same."""
PLAIN = frozenset({"name", "when", "unless", "then", "because", "tell", "final", "since", "until", "mode"})
"""What an added rule may say, and a rule that comes to match less: any other key has an effect of its own, which could open something."""
LISTED = frozenset({"sender", "header_from", "recipient", "recipients", "sha256"})
"""Keys that hold where a list covers something: a longer list holds more often."""


class _Move(StrEnum):
    GROWS = "grows"
    SHRINKS = "shrinks"


BOTH = frozenset(_Move)


def why_not_only_stricter(before: Policy, after: Policy) -> str:
    """Empty where no decision can be milder under `after` than under `before`, for any message; else why that is not proved."""
    for part in Policy.model_fields:
        if part not in ELSEWHERE and getattr(before, part) != getattr(after, part):
            return f"{part} changed"
    return _waivers(before, after) or _rules(before, after) or _lists(before, after)


def _enforced(policy: Policy) -> dict[str, Rule]:
    """What is only observed decides nothing."""
    return {rule.name: rule for rule in policy.rules if rule.mode == "enforce"}


def _rules(before: Policy, after: Policy) -> str:
    old, new = _enforced(before), _enforced(after)
    for name, rule in old.items():
        if name not in new:
            return f"the rule '{name}' went"
        if new[name] != rule:
            return f"the rule '{name}' changed"
    for name in new.keys() - old.keys():
        if new[name].disposition is Disposition.DELIVER:
            return f"the rule '{name}' delivers"
        if not _plain(new[name]):
            return f"the rule '{name}' has more effects than a disposition"
    return ""


def _plain(rule: Rule) -> bool:
    """Whether nothing but keys of PLAIN says anything."""
    return all(getattr(rule, name) == field.default for name, field in Rule.model_fields.items() if name not in PLAIN)


def _waivers(before: Policy, after: Policy) -> str:
    old = {waiver.name: waiver for waiver in before.waivers}
    for waiver in after.waivers:
        known = old.get(waiver.name)
        if known is None:
            return f"the waiver '{waiver.name}' is new"
        if not _narrower(known, waiver):
            return f"the waiver '{waiver.name}' changed"
    return ""


def _narrower(old: Waiver, new: Waiver) -> bool:
    rest = {name for name in Waiver.model_fields if name not in ("until", "rules", "owner", "reason")}
    same = all(getattr(old, name) == getattr(new, name) for name in rest)
    return same and new.until <= old.until and set(new.rules) <= set(old.rules)


def _lists(before: Policy, after: Policy) -> str:
    """Rules that are added and waivers that go come on top, and look at the new lists only."""
    changed = {
        name: moves
        for name, entries in before.lists.items()
        if name in after.lists and (moves := frozenset(_moves(entries, after.lists[name])))
    }
    used: dict[str, set[_Move]] = {}
    for name, opens in _opening(before, after, changed.keys()):
        used.setdefault(name, set()).update(opens)
    for name, moves in changed.items():
        wrong = moves & used.get(name, set())
        if wrong:
            return f"the list '{name}' {' and '.join(sorted(wrong))}, which may open something"
    return ""


def _moves(old: EntryList, new: EntryList) -> Iterator[_Move]:
    was, now = (frozenset({*entries.literal, *(f"*{one}" for one in entries.patterns), *entries.digests}) for entries in (old, new))
    if now - was:
        yield _Move.GROWS
    if was - now:
        yield _Move.SHRINKS


def _opening(before: Policy, after: Policy, names: Iterable[str]) -> Iterator[tuple[str, frozenset[_Move]]]:
    """Lists, and what they may not do. Where a condition may only come to hold more often, its lists may not shrink."""
    watched = set(names)
    for rule in _enforced(before).values():
        more = rule.disposition is not Disposition.DELIVER
        fixed = not more and not _plain(rule)  # a route that is named no more may undo a hold
        for condition, holds_more in ((rule.when, more), (rule.unless, not more)):
            if condition is not None:
                yield from ((name, BOTH if fixed else opens) for name, opens in _used(condition, holds_more, watched))
    for waiver in after.waivers:
        yield from _used(waiver.when, False, watched)
    for entry in before.recipients:
        if entry.file is not None:  # who is listed exists, and others are refused
            yield entry.file.removeprefix(LISTS).removesuffix(".txt"), frozenset({_Move.GROWS})


def _used(condition: Condition, holds_more: bool, watched: set[str]) -> Iterator[tuple[str, frozenset[_Move]]]:
    opens = frozenset({_Move.SHRINKS if holds_more else _Move.GROWS})
    for child in (*(condition.any or ()), *(condition.all or ())):
        yield from _used(child, holds_more, watched)
    if condition.not_ is not None:
        yield from _used(condition.not_, not holds_more, watched)
    yield from _in_keys(condition, opens, watched, top=True)


def _in_keys(asked: BaseModel, opens: frozenset[_Move], watched: set[str], *, top: bool = False) -> Iterator[tuple[str, frozenset[_Move]]]:
    for key in type(asked).model_fields:
        value = getattr(asked, key)
        if value is None or (top and key in ("any", "all", "not_")):
            continue
        if isinstance(value, BaseModel):
            yield from _in_keys(value, opens, watched)
        elif top and key == "group":
            yield from ((name, opens) for name in value)
        elif key in LISTED:
            yield from ((entry.removeprefix(LIST), opens) for entry in value if entry.startswith(LIST))
        else:  # a key that this file does not know, or CEL: a name that is mentioned may mean anything
            yield from ((name, BOTH) for name in watched if name in str(value))
