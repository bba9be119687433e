"""What a replay has found: counts that can be added up, and the newest messages of each difference, no more of them than was asked for."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

from relay.model.text import time_text

NOT_KNOWN = "not known"
WORDS = ("deliver", "defer", "hold", "quarantine", "reject")
"""Dispositions, mildest first; `defer` is deliver and not yet."""
MOST_NAMES = 2_000
"""Rules, differences and pairs of routes that are told apart: names come from the record and from the policy, and could be any number."""
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Example:
    """One recipient whose decision differs. Whom it is about is empty where nobody gave a reason to see it."""

    message: str
    ordinal: int
    received_us: int
    was: str
    now: str
    was_by: tuple[str, ...]
    now_by: tuple[str, ...]
    because: str
    sender: str = ""
    recipient: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """Why decisions differ: `rule` in what way. A name in brackets is no rule."""

    rule: str
    how: str
    was: str
    now: str


@dataclass(slots=True)
class Counts:
    """By recipient, but for `messages` and `erased`. `flows` is by old and new disposition; `matched` and `matches` by rule: then, and now.
    `observed` is by rule, what it would say, and what is said without it."""

    limit: int = 20
    messages: int = 0
    recipients: int = 0
    erased: int = 0
    flows: Counter[tuple[str, str]] = field(default_factory=Counter)
    routes: Counter[tuple[str, str]] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    matched: Counter[str] = field(default_factory=Counter)
    matches: Counter[str] = field(default_factory=Counter)
    observed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    changes: Counter[Change] = field(default_factory=Counter)
    examples: dict[Change, list[Example]] = field(default_factory=dict)
    unknown_examples: dict[str, list[Example]] = field(default_factory=dict)

    def note(self, change: Change, example: Example) -> None:
        """One more recipient."""
        if change not in self.changes and len(self.changes) >= MOST_NAMES:
            change = Change(OTHERS, "", change.was, change.now)
        self.changes[change] += 1
        _keep(self.examples.setdefault(change, []), [example], self.limit)

    def note_unknown(self, condition: str, example: Example) -> None:
        """One more recipient on whom this can't be answered."""
        name = condition if condition in self.unanswered or len(self.unanswered) < MOST_NAMES else OTHERS
        self.unanswered[name] += 1
        _keep(self.unknown_examples.setdefault(name, []), [example], self.limit)

    def add(self, other: "Counts") -> None:
        """What another slice found."""
        self.messages += other.messages
        self.recipients += other.recipients
        self.erased += other.erased
        for name in ("flows", "routes", "unanswered", "matched", "matches", "observed", "changes"):
            _add(getattr(self, name), getattr(other, name))
        for mine, theirs in ((self.examples, other.examples), (self.unknown_examples, other.unknown_examples)):
            _add_examples(mine, theirs, self.limit)

    @property
    def differ(self) -> int:
        """Recipients whose disposition is known, and another one."""
        return sum(number for (was, now), number in self.flows.items() if now not in (was, NOT_KNOWN))

    @property
    def not_known(self) -> int:
        """Recipients of whom the record does not tell enough."""
        return sum(number for (_, now), number in self.flows.items() if now == NOT_KNOWN)

    def summary(self, messages: bool = True, rule: str | None = None) -> dict[str, Any]:
        """As plain JSON values; `messages` lists them, `rule` tells only of differences that are due to it."""
        changes = sorted((item for item in self.changes.items() if rule in (None, item[0].rule)), key=lambda item: (-item[1], item[0]))
        return {
            "messages": self.messages,
            "recipients": self.recipients,
            "differ": self.differ,
            "not_known": self.not_known,
            "erased_messages": self.erased,
            "flows": [
                {"was": was, "now": now, "recipients": number} for (was, now), number in sorted(self.flows.items(), key=_by_strictness)
            ],
            "routes": [{"was": was, "now": now, "recipients": number} for (was, now), number in self.routes.most_common()],
            "unanswered": [
                {"condition": condition, "recipients": number, **_listed(self.unknown_examples, condition, messages)}
                for condition, number in self.unanswered.most_common()
            ],
            "rules": self._rules(),
            "observed": [
                {"rule": name, "would": would, "now": now, "recipients": number}
                for (name, would, now), number in sorted(self.observed.items(), key=lambda item: (item[0][0], -item[1], item[0]))
            ],
            "changes": [
                {
                    "rule": change.rule,
                    "how": change.how,
                    "was": change.was,
                    "now": change.now,
                    "recipients": number,
                    **_listed(self.examples, change, messages),
                }
                for change, number in changes
            ],
        }

    def _rules(self) -> list[dict[str, Any]]:
        stricter: Counter[str] = Counter()
        milder: Counter[str] = Counter()
        for change, number in self.changes.items():
            (stricter if strictness(change.now) > strictness(change.was) else milder)[change.rule] += number
        names = sorted({*self.matched, *self.matches, *stricter, *milder})
        return [
            {
                "rule": name,
                "matched": self.matched[name],
                "matches": self.matches[name],
                "stricter": stricter[name],
                "milder": milder[name],
            }
            for name in names
        ]


def strictness(word: str) -> int:
    """The place of a disposition."""
    return WORDS.index(word) if word in WORDS else len(WORDS)


def _by_strictness(item: tuple[tuple[str, str], int]) -> tuple[int, int]:
    return strictness(item[0][0]), strictness(item[0][1])


def _listed(examples: Mapping[Any, list[Example]], key: Any, wanted: bool) -> dict[str, Any]:
    return {"newest": [_example(example) for example in examples.get(key, ())]} if wanted else {}


def _example(example: Example) -> dict[str, Any]:
    whom = {"sender": example.sender, "recipient": example.recipient} if example.recipient else {}
    return {
        "message": example.message,
        "ordinal": example.ordinal,
        "received": time_text(example.received_us),
        "was": example.was,
        "now": example.now,
        "was_by": list(example.was_by),
        "now_by": list(example.now_by),
        "because": example.because,
        **whom,
    }


def _keep(kept: list[Example], more: Iterable[Example], limit: int) -> None:
    """The newest, newest first. Examples of one slice come oldest first, so that the list is cut now and then and not each time."""
    kept.extend(more)
    if len(kept) > 4 * limit + 4:
        _cut(kept, limit)


def _cut(kept: list[Example], limit: int) -> None:
    kept[:] = nlargest(limit, kept, key=lambda example: (example.message, -example.ordinal))


def _add(mine: Counter[Any], theirs: Counter[Any]) -> None:
    for key, number in theirs.items():
        if key in mine or len(mine) < MOST_NAMES:
            mine[key] += number
        else:
            mine[_other(key)] += number


def _other(key: Any) -> Any:
    if isinstance(key, Change):
        return Change(OTHERS, "", key.was, key.now)
    return (OTHERS, *key[1:]) if isinstance(key, tuple) else OTHERS


def _add_examples(mine: dict[Any, list[Example]], theirs: Mapping[Any, list[Example]], limit: int) -> None:
    for key, examples in theirs.items():
        known = key if key in mine or len(mine) < MOST_NAMES else _other(key)
        kept = mine.setdefault(known, [])
        kept.extend(examples)
        _cut(kept, limit)
