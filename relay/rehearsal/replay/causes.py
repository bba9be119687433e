"""To which rules it is due that a decision differs."""

from collections.abc import Iterator, Sequence
from typing import Any

from relay.model.decision import Verdict
from relay.policy.builtin import NO_RULE
from relay.rehearsal.replay.counts import Change, strictness

ROUTE, INSPECTORS, ELSE = "(routes)", "(inspectors)", "(otherwise)"
"""No rules: whether a route leads there, which inspectors must answer."""
MATCHES, NO_MORE, WAIVED, WAIVED_NO_MORE, SAYS = (
    "matches now",
    "matches no more",
    "is waived now",
    "is waived no more",
    "says something else",
)


def carriers(matches: Sequence[dict[str, Any]], disposition: str) -> tuple[str, ...]:
    """The rules that carried a recorded disposition."""
    return tuple(match["rule"] for match in matches if match["waived_by"] is None and match["disposition"] == disposition)


def causes(matches: Sequence[dict[str, Any]], was: str, verdict: Verdict, now: str) -> list[Change]:
    """`matches` are those of the record. What became stricter is due to the rules that carry it now, what became milder to those that
    carried it then; where nothing covered it, to those that do."""
    found = dict.fromkeys(_due(matches, was, verdict, now))
    return [Change(rule, how, was, now) for rule, how in found] or [Change(_no_rule(was, now), "", was, now)]


def _due(matches: Sequence[dict[str, Any]], was: str, verdict: Verdict, now: str) -> Iterator[tuple[str, str]]:
    then = {match["rule"]: match for match in matches}
    here = {match.rule: match for match in verdict.matches}
    stricter = strictness(now) > strictness(was)
    old, new = carriers(matches, "deliver" if was == "defer" else was), verdict.rules
    if stricter or NO_RULE in old:
        for rule in new:
            known = then.get(rule)
            if known is None:
                yield rule, MATCHES
            elif known["waived_by"] is not None:
                yield rule, WAIVED_NO_MORE
            elif known["disposition"] != str(here[rule].disposition):
                yield rule, SAYS
    if not stricter or NO_RULE in new:
        for rule in old:
            match = here.get(rule)
            if match is None:
                yield rule, NO_MORE
            elif match.waived_by is not None:
                yield rule, WAIVED
            elif str(match.disposition) != then[rule]["disposition"]:
                yield rule, SAYS


def _no_rule(was: str, now: str) -> str:
    if "defer" in (was, now):
        return INSPECTORS
    return ROUTE if {was, now} == {"deliver", "hold"} else ELSE
