"""What differs between two versions of a policy: a unified diff of each file, and the rules and waivers that came, went and changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from relay.policy.models import Policy
from relay.policy.rules import Rule, Waiver

MAX_LINES = 5000
"""Of a file that is compared line by line in order, which takes a time that grows with the square. A longer list is compared as a set."""


@dataclass(frozen=True, slots=True)
class Names:
    """Of rules or of waivers, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def as_json(self) -> dict[str, list[str]]:
        """Plain."""
        return {"added": list(self.added), "removed": list(self.removed), "changed": list(self.changed)}


def file_differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Name and lines of a unified diff, of each file that differs."""
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield name, list(_lines(name, old.get(name), new.get(name)))


def _lines(name: str, old: str | None, new: str | None) -> Iterator[str]:
    was, now = (text.splitlines() if text is not None else [] for text in (old, new))
    titles = (f"a/{name}" if old is not None else "/dev/null", f"b/{name}" if new is not None else "/dev/null")
    if max(len(was), len(now)) <= MAX_LINES:
        yield from unified_diff(was, now, *titles, lineterm="")
        return
    yield from (f"--- {titles[0]}", f"+++ {titles[1]}")
    before, after = set(was), set(now)
    yield from (f"-{line}" for line in was if line not in after)
    yield from (f"+{line}" for line in now if line not in before)


def rule_names(old: Policy, new: Policy) -> Names:
    """Of the rules."""
    return _names(old.rules, new.rules)


def waiver_names(old: Policy, new: Policy) -> Names:
    """Of the waivers."""
    return _names(old.waivers, new.waivers)


def _names(old: Sequence[Rule] | Sequence[Waiver], new: Sequence[Rule] | Sequence[Waiver]) -> Names:
    was: dict[str, Any] = {one.name: one for one in old}
    now: dict[str, Any] = {one.name: one for one in new}
    return Names(
        tuple(sorted(now.keys() - was.keys())),
        tuple(sorted(was.keys() - now.keys())),
        tuple(sorted(name for name in was.keys() & now.keys() if was[name] != now[name])),
    )
