"""Why a decision came out as it did: every rule with what it asked and what was there, by the same functions that decide.

What is told here is for staff; `relay.decide.told` has the words for the sender.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from relay.decide.compiled import Compiled, compiled
from relay.decide.conditions import compile_condition
from relay.decide.facts import Facts, MessageFacts
from relay.decide.logic import NO, UNKNOWN, YES, Truth, both, opposite
from relay.decide.named import Named
from relay.decide.seen import seen
from relay.model.case import Case
from relay.model.decision import Decision, Disposition, Epoch, Verdict
from relay.model.effects import NO_EFFECTS
from relay.policy.builtin import BUILTIN
from relay.policy.conditions import Condition
from relay.policy.models import Policy, Rule, Waiver

ALL = "all"
EVIDENCE = "; it is kept as evidence, which nobody can release"


@dataclass(frozen=True, slots=True)
class Asked:
    """One key of a condition: what it asks, what was seen, and whether that holds. `children` are the conditions under any, all and not."""

    key: str
    asked: Any
    seen: Any
    truth: Truth
    children: tuple["Asked", ...] = ()

    @property
    def leaves(self) -> "Iterator[Asked]":
        """What was asked in the end."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves


@dataclass(frozen=True, slots=True)
class RuleExplained:
    """A rule for one recipient. `standing`: `matched`, `waived`, `unknown` (and so it counts where it is strict), `nearly` (some keys
    held, and just one did not), `observed`, `off` (not one of its days), or `no`."""

    name: str
    disposition: Disposition
    because: str
    final: bool
    standing: str
    waived_by: str
    when: tuple[Asked, ...]
    unless: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class VerdictExplained:
    """`passing` says what would have let it pass; empty where it passed."""

    recipient: str
    verdict: Verdict
    rules: tuple[RuleExplained, ...]
    passing: tuple[str, ...]


def explain(case: Case, policy: Policy, epoch: Epoch, today: date, decision: Decision) -> tuple[VerdictExplained, ...]:
    """For each recipient, in order. `decision` is what decide said of the same case."""
    ready, message = compiled(policy), MessageFacts(case, epoch.phase)
    explained = []
    for recipient, verdict in zip(case.recipients, decision.verdicts, strict=True):
        address = recipient.mailbox.key
        facts = Facts(message, address, ready.direction(case, address))
        rules = tuple(_rule(rule, facts, ready, verdict, today) for rule in policy.rules)
        explained.append(VerdictExplained(str(recipient), verdict, rules, tuple(_passing(verdict, rules, policy, facts, ready, today))))
    return tuple(explained)


def _rule(rule: Rule, facts: Facts, ready: Compiled, verdict: Verdict, today: date) -> RuleExplained:
    when = asked_of(rule.when, facts, ready.named)
    unless = asked_of(rule.unless, facts, ready.named) if rule.unless is not None else ()
    match = next((match for match in verdict.matches if match.rule == rule.name), None)
    return RuleExplained(
        rule.name,
        rule.disposition,
        rule.because,
        rule.final,
        _standing(rule, when, unless, verdict, today),
        (match.waived_by or "") if match else "",
        when,
        unless,
    )


def _standing(rule: Rule, when: tuple[Asked, ...], unless: tuple[Asked, ...], verdict: Verdict, today: date) -> str:
    if (rule.since is not None and today < rule.since) or (rule.until is not None and rule.until < today):
        return "off"
    match = next((match for match in verdict.matches if match.rule == rule.name), None)
    if match is not None and match.waived_by:
        return "waived"
    truth = _every(when)
    if rule.unless is not None:
        truth = both(truth, opposite(_every(unless)))
    if rule.mode == "observe":
        return "observed" if truth is YES else "no"
    if match is not None:
        return "matched" if truth is YES else "unknown"
    failing = sum(asked.truth is not YES for asked in when) + (rule.unless is not None and _every(unless) is not NO)
    return "nearly" if failing == 1 < len(when) + (rule.unless is not None) else "no"


def _every(asked: tuple[Asked, ...]) -> Truth:
    truth = YES
    for one in asked:
        truth = both(truth, one.truth)
    return truth


def asked_of(condition: Condition, facts: Facts, named: Named) -> tuple[Asked, ...]:
    """Each key that is given, by itself."""
    return tuple(_asked(condition, facts, named))


def _asked(condition: Condition, facts: Facts, named: Named) -> Iterator[Asked]:
    for name, field in type(condition).model_fields.items():
        value = getattr(condition, name)
        if value is None:
            continue
        key = field.alias or name
        alone = compile_condition(
            condition.model_copy(update={other: None for other in type(condition).model_fields if other != name}), named
        )
        children = _children(value, facts, named) if name in ("any", "all", "not_") else ()
        asked = None if children else _plain(value)
        yield Asked(key, asked, None if children else seen(key, facts), alone(facts), children)


def _children(value: Any, facts: Facts, named: Named) -> tuple[Asked, ...]:
    conditions = value if isinstance(value, tuple) else (value,)
    parts = []
    for condition in conditions:
        keys = asked_of(condition, facts, named)
        parts.append(keys[0] if len(keys) == 1 else Asked(ALL, None, None, _every(keys), keys))
    return tuple(parts)


def _plain(value: Any) -> Any:
    """As it stands in the file."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [str(item) for item in value] if isinstance(value, tuple) else value


def _passing(
    verdict: Verdict, rules: tuple[RuleExplained, ...], policy: Policy, facts: Facts, ready: Compiled, today: date
) -> Iterator[str]:
    """What stands in the way, rule by rule, and what takes it away."""
    if verdict.disposition is Disposition.DELIVER:
        if verdict.deferred:
            yield f"an answer: {verdict.because}"
        return
    by_name = {rule.name: rule for rule in rules}
    for match in verdict.matches:
        if match.waived_by is not None or match.disposition is Disposition.DELIVER:
            continue
        if match.rule in by_name:
            yield from _other_facts(by_name[match.rule])
        yield from _taken_away(match.rule, match.final, policy, facts, ready, today)
    if verdict.alert == "no-rule":
        yield "a rule that says deliver for this case: none does"
    elif verdict.alert is not None:
        yield verdict.because


def _other_facts(rule: RuleExplained) -> Iterator[str]:
    changes = [f"'{asked.key}' were not {_words(asked.seen)}" for asked in rule.when if not asked.children and asked.truth is YES]
    changes += [f"'{leaf.key}' were {_words(leaf.asked)}" for asked in rule.unless for leaf in asked.leaves]
    if changes:
        yield f"'{rule.name}' would not have matched if {', or '.join(changes)}"


def _taken_away(name: str, final: bool, policy: Policy, facts: Facts, ready: Compiled, today: date) -> Iterator[str]:
    kept = ready.effects.get(name, NO_EFFECTS).keep
    if final or (name in BUILTIN and BUILTIN[name][1]):
        if name not in ("no-rule",):
            more = "" if name == "brake" else EVIDENCE if kept else "; a release takes two people"
            yield f"'{name}' is final: no waiver takes it away{more}"
        return
    for waiver in policy.waivers:
        if name in waiver.rules:
            yield from _waiver(waiver, name, facts, ready, today)
    yield f"a waiver of '{name}'" + (EVIDENCE if kept else ", or a release by staff of this one message")


def _waiver(waiver: Waiver, name: str, facts: Facts, ready: Compiled, today: date) -> Iterator[str]:
    if today > waiver.until:
        yield f"the waiver '{waiver.name}' of '{name}' ended on {waiver.until}"
        return
    lacking = [asked for asked in _asked(waiver.when, facts, ready.named) if asked.truth is not YES]
    for asked in lacking[:1]:
        what = "is not known" if asked.truth is UNKNOWN else f"was {_words(asked.seen)}"
        yield f"the waiver '{waiver.name}' of '{name}' did not hold: {asked.key} {what}"


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value) or "nothing"
    if isinstance(value, dict):
        return str(value["name"]) or "without a name" if "name" in value else ", ".join(f"{k}: {_words(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    return "not known" if value is None else str(value) or "empty"
