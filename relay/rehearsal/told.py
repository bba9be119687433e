"""An explanation as plain JSON values and as lines for people."""

from collections.abc import Iterator, Sequence
from typing import Any

from relay.decide.explain import Asked, RuleExplained, VerdictExplained
from relay.decide.told import told
from relay.model.text import printable
from relay.policy.models import Policy

MOST = 6  # entries of a list that a line shows
SHOWN = ("matched", "waived", "unknown", "nearly", "observed")


def as_json(explained: VerdictExplained, policy: Policy) -> dict[str, Any]:
    """Every rule, and what was asked of what."""
    verdict, words = explained.verdict, told(explained.verdict, policy)
    return {
        "recipient": explained.recipient,
        "disposition": "defer" if verdict.deferred else str(verdict.disposition),
        "because": verdict.because,
        "route": verdict.route,
        "effects": verdict.effects.to_json(),
        "matches": [
            {
                "rule": match.rule,
                "disposition": str(match.disposition),
                "because": match.because,
                "final": match.final,
                "waived_by": match.waived_by,
            }
            for match in verdict.matches
        ],
        "observed": [{"rule": match.rule, "disposition": str(match.disposition), "because": match.because} for match in verdict.observed],
        "rules": [_rule(rule) for rule in explained.rules],
        "what_would_let_it_pass": list(explained.passing),
        "for_the_sender": {"nl": words.nl, "en": words.en},
    }


def _rule(rule: RuleExplained) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "then": str(rule.disposition),
        "because": rule.because,
        "final": rule.final,
        "standing": rule.standing,
        "waived_by": rule.waived_by or None,
        "when": [_asked(asked) for asked in rule.when],
        "unless": [_asked(asked) for asked in rule.unless],
    }


def _asked(asked: Asked) -> dict[str, Any]:
    holds = {"NO": False, "YES": True}.get(asked.truth.name)
    if asked.children:
        return {"key": asked.key, "holds": holds, "of": [_asked(child) for child in asked.children]}
    return {"key": asked.key, "asked": asked.asked, "seen": asked.seen, "holds": holds}


def as_lines(explained: dict[str, Any], every: bool = False) -> Iterator[str]:
    """What `as_json` gave, for a terminal; `every` shows the rules that had nothing to do with it, too."""
    yield f"{explained['recipient']}: {explained['disposition']}" + (f" over {explained['route']}" if explained["route"] else "")
    yield f"  because  {explained['because']}"
    for line in effect_lines(explained["effects"]):
        yield f"  besides  {line}"
    named = {rule["rule"] for rule in explained["rules"]}
    for match in explained["matches"]:
        if match["rule"] not in named:
            yield _line("built in", match["rule"], match["disposition"], match["because"], match["waived_by"], match["final"])
    for rule in explained["rules"]:
        if every or rule["standing"] in SHOWN:
            yield _line(rule["standing"], rule["rule"], rule["then"], rule["because"], rule["waived_by"], rule["final"])
            yield from _asked_lines("when", rule["when"])
            yield from _asked_lines("unless", rule["unless"])
    for passing in explained["what_would_let_it_pass"]:
        yield f"  to pass  {passing}"
    yield f"  for the sender  {explained['for_the_sender']['nl']}"
    yield f"                  {explained['for_the_sender']['en']}"


def effect_lines(effects: dict[str, Any]) -> Iterator[str]:
    """What follows besides the disposition, as `Effects.to_json` gave it."""
    if effects.get("keep"):
        yield "kept as evidence, never to be released"
    if effects.get("require_tls"):
        yield "verified TLS to the next hop"
    for name, value in effects.get("headers", ()):
        yield f"in front: {name}: {value}"
    for rule, address in effects.get("notify", ()):
        yield f"{address} is told of rule {rule}"


def _line(standing: str, rule: str, then: str, because: str, waived_by: str | None, final: bool) -> str:
    more = (f" (waived by {waived_by})" if waived_by else "") + (" (final)" if final else "")
    return f"  {standing:<8} {rule}: {then}, {because}{more}"


def _asked_lines(what: str, asked: Sequence[dict[str, Any]], indent: str = "             ") -> Iterator[str]:
    for one in asked:
        mark = {True: "holds", False: "does not hold", None: "is not known"}[one["holds"]]
        if "of" in one:
            yield f"{indent}{what} {one['key']} {mark}:"
            yield from _asked_lines("", one["of"], indent + "  ")
        else:
            yield f"{indent}{what} {one['key']} {_short(one['asked'])} {mark}: {_short(one['seen'])}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        more = [f"… ({len(value)})"] if len(value) > MOST else []
        return f"[{', '.join([_short(item) for item in value[:MOST]] + more)}]"
    if isinstance(value, dict) and "true_type" in value:
        return f"{printable(value['name'] or 'text', 60)} ({value['true_type']}, {value['size']} octets)"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(item)}" for key, item in value.items() if item not in ("", [], None)) + "}"
    return printable(str(value).lower() if isinstance(value, bool) else "not known" if value is None else str(value), 100)
