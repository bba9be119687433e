"""What a record can't answer, by the condition that would have to know it: older records lack fields, and a policy can ask for what nobody
looked at then. Where the decision depends on it, it is not known; nothing is guessed."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from relay.decide.compiled import Compiled
from relay.decide.explain import asked_of
from relay.decide.facts import Facts
from relay.decide.logic import NO, UNKNOWN, both, opposite
from relay.decide.verdict import Judged
from relay.model.decision import Disposition, Verdict
from relay.model.features import Attachment, Header, Inspection
from relay.model.finding import Finding
from relay.policy.builtin import NO_RULE
from relay.policy.conditions import Condition
from relay.policy.models import Rule
from relay.policy.vocabulary import OF_AUTHENTICATION, OF_FIRST_TIMES
from relay.rehearsal.effective import depending

IF = "if"
_AREAS = {"header": Header, "attachments": Attachment, "findings": Finding}
_FIELDS = {area: frozenset(field.name for field in fields(kind)) for area, kind in _AREAS.items()}
_WHOLE = frozenset(field.name for field in fields(Inspection)) - {"first_times", "first_times_today", "authentication", "signatures"}
"""What is looked up only where policy asks lacks in most records, and is not known then: `Gaps.unknown` tells of it. Signatures are never
recorded."""
_ASKED_BY: dict[str, tuple[str, ...]] = {
    "header.from_addresses": ("header_from", "header.imitates_us"),
    "header.from_display": ("header.display_name", "header.imitates_us"),
    "header.to": ("header.recipients",),
    "header.subject": ("subject_contains",),
    "header.auto_submitted": ("header.automatic",),
    "header.received": ("header.received_more_than",),
    "attachments.name": ("attachment.names", "attachment.extensions"),
    "attachments.members": ("attachment.names", "attachment.extensions"),
    "attachments.declared": ("attachment.types",),
    "attachments.true_type": ("attachment.types", "attachment.true_types"),
    "attachments.size": ("attachment.larger_than", "attachment.smaller_than"),
}
"""Record field to the keys that ask for it, where those have other names."""


def lacking(inspection: Mapping[str, Any]) -> frozenset[str]:
    """Fields that this program records, and that were not recorded then: `header.received`, or `answered` of the whole."""
    found = [name for name in _WHOLE if name not in inspection]
    for area, wanted in _FIELDS.items():
        value = inspection.get(area) or ()
        for item in (value,) if isinstance(value, Mapping) else value:
            if not wanted <= item.keys():
                found += [f"{area}.{name}" for name in wanted - item.keys()]
    return frozenset(found)


def complete(inspection: Mapping[str, Any]) -> dict[str, Any]:
    """With an empty value for what was not recorded of the whole, so that it can be read."""
    return {"header": {}, **dict.fromkeys(_WHOLE - {"header", "eight_bit"}, ()), "eight_bit": False, **inspection}


class Gaps:
    """What one policy asks for, against what one record lacks."""

    def __init__(self, ready: Compiled) -> None:
        self._ready = ready
        self._rules = {rule.name: rule for rule in ready.policy.rules if rule.mode == "enforce"}
        of_rules = {
            name: frozenset((*_keys(rule.when), *(_keys(rule.unless) if rule.unless else ()))) for name, rule in self._rules.items()
        }
        self._asked = frozenset().union(*of_rules.values(), *(_keys(waiver.when) for waiver in ready.policy.waivers))
        self._keys_of = {name: frozenset(_top(key) for key in keys) for name, keys in of_rules.items()}
        self._known: dict[frozenset[str], frozenset[str]] = {}

    def keys(self, missing: frozenset[str]) -> frozenset[str]:
        """The keys of conditions that this policy uses and such a record can't answer."""
        found = self._known.get(missing)
        if found is None:
            found = self._known[missing] = frozenset(_top(key) for name in missing for key in self._of(name))
        return found

    def _of(self, name: str) -> Iterator[str]:
        singular = name.replace("attachments.", "attachment.").replace("findings.", "finding.")
        yield from {*_ASKED_BY.get(name, ()), singular} & self._asked
        if f"{IF}:{name.rpartition('.')[2]}" in self._asked:
            yield IF

    def matter(self, facts: Facts, verdict: Verdict, free: frozenset[str]) -> set[str]:
        """The keys among `free`, whose value nobody knows, on which the verdict may depend."""
        depends: set[str] = set()
        for name, rule in self._rules.items():
            if not free.isdisjoint(self._keys_of[name]) and self._counts(rule.disposition, name, verdict):
                self._add(rule, facts, free, depends)
        standing = {match.rule for match in verdict.matches}
        for waiver in self._ready.policy.waivers:
            here: set[str] = set()
            if standing.intersection(waiver.rules) and depending(asked_of(waiver.when, facts, self._ready.named), free, here) is UNKNOWN:
                depends |= here & free
        return depends

    def _counts(self, disposition: Disposition, name: str, verdict: Verdict) -> bool:
        """Whether it would be another verdict if this rule held, or did not."""
        if any(match.rule == name for match in verdict.matches):
            return True
        nothing = any(match.rule == NO_RULE for match in verdict.matches)
        return disposition > verdict.disposition or (nothing and disposition is Disposition.DELIVER)

    def _add(self, rule: Rule, facts: Facts, free: frozenset[str], depends: set[str]) -> None:
        here: set[str] = set()
        truth = depending(asked_of(rule.when, facts, self._ready.named), free, here)
        if truth is not NO and rule.unless is not None:
            truth = both(truth, opposite(depending(asked_of(rule.unless, facts, self._ready.named), free, here)))
        if truth is UNKNOWN:
            depends |= here & free

    def unknown(self, judged: Judged) -> set[str]:
        """Keys whose value is not known although the content could be read: nobody recorded it."""
        facts, verdict = judged.facts, judged.verdict
        if facts.message.header is None:
            return set()
        found: set[str] = set()
        for _, ready, truth in judged.standing:
            if truth is UNKNOWN and self._counts(ready.match.disposition, ready.match.rule, verdict):
                rule = self._rules[ready.match.rule]
                found |= self._unknown((rule.when, rule.unless), facts)
        for match in verdict.matches:
            if any(waiver.when(facts) is UNKNOWN for waiver in self._ready.waivers.get(match.rule, ())):
                found |= self._unknown([waiver.when for waiver in self._ready.policy.waivers if match.rule in waiver.rules], facts)
        return found

    def _unknown(self, conditions: Iterable[Condition | None], facts: Facts) -> set[str]:
        """An expression that fails on the values at hand would fail on them again: it is no lack of the record, unless it asks for what is
        looked up only where policy asks."""
        asked = [one for condition in conditions if condition is not None for one in asked_of(condition, facts, self._ready.named)]
        return {leaf.key for one in asked for leaf in one.leaves if leaf.truth is UNKNOWN and (leaf.key != IF or _looks_up(leaf.asked))}


def _looks_up(expression: str) -> bool:
    return not (OF_AUTHENTICATION | OF_FIRST_TIMES).isdisjoint(re.findall(r"[a-z_]\w*", expression))


def _top(key: str) -> str:
    return re.split("[.:]", key)[0]


def _keys(condition: Condition) -> Iterator[str]:
    """`sender`, `attachment.encrypted`, `if:subject`."""
    for name, field in type(condition).model_fields.items():
        value = getattr(condition, name)
        if value is None or name in ("any", "all", "not_"):
            continue
        key = field.alias or name
        if name == "if_":
            yield from (f"{IF}:{word}" for word in re.findall(r"[a-z_]\w*", value))
        elif hasattr(value, "model_fields_set"):
            yield from (f"{key}.{inner}" for inner in type(value).model_fields if getattr(value, inner) is not None)
        else:
            yield key
    for child in condition.children:
        yield from _keys(child)
