"""Runs the tests of a policy, says what was expected and what came, and which rules and waivers no test reaches."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from relay.model.effects import NO_EFFECTS, Effects
from relay.model.errors import ConfigurationError
from relay.policy.models import Policy
from relay.rehearsal.cases import Expected, Located
from relay.rehearsal.stand import Inspect, Outcome, Rehearsed, rehearse


@dataclass(frozen=True, slots=True)
class Tried:
    """`differences` is empty where all came as expected."""

    located: Located
    differences: tuple[str, ...]
    rehearsed: Rehearsed | None = None


@dataclass(slots=True)
class Coverage:
    """Names of rules and waivers that a test has reached."""

    rules: set[str] = field(default_factory=set)
    waivers: set[str] = field(default_factory=set)

    def note(self, rehearsed: Rehearsed) -> None:
        """A rule is reached where it matched (waived, unsure or only observed too), a waiver where it took one away."""
        for outcome in rehearsed.outcomes:
            if outcome.verdict is None:
                self.rules |= set(outcome.reason.removeprefix("rules ").split(", "))  # what decide refused at RCPT names its rules
                continue
            for match in (*outcome.verdict.matches, *outcome.verdict.observed):
                self.rules.add(match.rule)
                self.waivers |= {match.waived_by.removeprefix("waiver ")} if match.waived_by else set()

    def missing(self, policy: Policy) -> tuple[list[str], list[str]]:
        """Rules and waivers of the policy that no test has reached."""
        rules = [rule.name for rule in policy.rules if rule.name not in self.rules]
        return rules, [waiver.name for waiver in policy.waivers if waiver.name not in self.waivers]


async def run(tests: Sequence[Located], policy: Policy, inspect: Inspect, now_us: int, coverage: Coverage) -> AsyncIterator[Tried]:
    """One after another; a test whose message can't be built has failed."""
    for located in tests:
        try:
            rehearsed = await rehearse(located.given(policy, now_us), policy, inspect)
        except ConfigurationError as error:
            yield Tried(located, tuple(error.problems))
            continue
        coverage.note(rehearsed)
        yield Tried(located, tuple(_differences(located, rehearsed)), rehearsed)


def _differences(located: Located, rehearsed: Rehearsed) -> Iterator[str]:
    for expected in located.test.expect:
        for outcome in rehearsed.outcomes:
            if expected.recipient in (None, outcome.recipient):
                yield from (f"{outcome.recipient}: {what}" for what in _difference(expected, outcome, rehearsed))


def _difference(expected: Expected, outcome: Outcome, rehearsed: Rehearsed) -> Iterator[str]:
    verdict = outcome.verdict
    if outcome.word != expected.disposition:
        yield f"expected {expected.disposition}, was {outcome.word} ({outcome.reason or (verdict.because if verdict else '')})"
    matches = verdict.matches if verdict else ()
    came = {
        "rules": verdict.rules if verdict else (),
        "waived": tuple(match.rule for match in matches if match.waived_by),
        "observed": tuple(match.rule for match in verdict.observed) if verdict else (),
    }
    for name, found in came.items():
        wanted = getattr(expected, name)
        if wanted is not None and set(wanted) != set(found):
            yield f"expected {name} {_words(wanted)}, was {_words(found)}"
    yield from _other_effects(expected, verdict.effects if verdict else NO_EFFECTS)
    if expected.route is not None and (verdict is None or verdict.route != expected.route):
        yield f"expected route {expected.route}, was {(verdict.route if verdict else None) or 'none'}"
    code = outcome.reply.code if outcome.reply is not None else rehearsed.code
    if expected.code is not None and expected.code != code:
        yield f"expected reply {expected.code}, was {code}"


def _other_effects(expected: Expected, effects: Effects) -> Iterator[str]:
    for name, wanted, came in (("keep", expected.keep, effects.keep), ("require_tls", expected.require_tls, effects.require_tls)):
        if wanted is not None and wanted is not came:
            yield f"expected {name} {str(wanted).lower()}, was {str(came).lower()}"
    if expected.headers is not None and sorted(expected.headers.items()) != sorted(effects.fields):
        was = _words([f"{name}: {value}" for name, value in effects.fields])
        yield f"expected headers {_words([f'{name}: {value}' for name, value in expected.headers.items()])}, was {was}"
    told = {address for _, address in effects.notify}
    if expected.notify is not None and set(expected.notify) != told:
        yield f"expected notify {_words(expected.notify)}, was {_words(sorted(told))}"


def _words(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)) or "none"
