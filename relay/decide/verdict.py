"""The decision itself, recipient by recipient: the strictest rule that is left wins, and what is delivered gets a route."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from relay.decide.compiled import Compiled, compiled
from relay.decide.effects import effects_of
from relay.decide.facts import Facts, MessageFacts
from relay.decide.logic import YES
from relay.decide.matches import builtin_matches, matches_for, may_be_waived, observed_for
from relay.decide.standing import Placed
from relay.model.case import Case, Direction
from relay.model.client import Side
from relay.model.decision import Decision, Disposition, Epoch, Match, Release, Verdict
from relay.policy.builtin import NO_RULE
from relay.policy.models import Policy

NO_ROUTE = "no-route"
SEVERAL_ROUTES = "several-routes"


def decide(case: Case, policy: Policy, epoch: Epoch, today: date, releases: Mapping[int, Release] | None = None) -> Decision:
    """After DATA, on everything. `releases` by index of the recipient. Reaches no disk, network, clock or database."""
    return Decision(epoch, tuple(one.verdict for one in judged(case, policy, epoch, today, releases)))


class Judged(NamedTuple):
    """A verdict with what it rests on: `standing` are the rules that hold, or of which that is not known."""

    facts: Facts
    standing: Sequence[Placed]
    verdict: Verdict


def judged(case: Case, policy: Policy, epoch: Epoch, today: date, releases: Mapping[int, Release] | None = None) -> list[Judged]:
    """What `decide` says, for whoever asks why, too."""
    ready, message, given = compiled(policy), MessageFacts(case, epoch.phase), releases or {}
    always, found = builtin_matches(case, epoch), []
    for index, recipient in enumerate(case.recipients):
        address = recipient.mailbox.key
        facts = Facts(message, address, ready.direction(case, address))
        standing = ready.rules.standing(facts, today)
        matches = matches_for(facts, ready, always, standing, today, given.get(index))
        said = partial(
            Verdict,
            matches=tuple(matches),
            observed=observed_for(facts, ready, today),
            effects=effects_of(facts, matches, ready, standing),
        )
        found.append(Judged(facts, standing, _verdict(facts, matches, ready, said)))
    return found


def prepare(policy: Policy) -> None:
    """Makes a policy ready before it is in force: zones and the interpreter of CEL are read from the disk here, and not when deciding."""
    compiled(policy)


def asks_for_first_times(policy: Policy, side: Side) -> bool:
    """Whether deciding for mail from this side asks who wrote to whom before: whoever calls looks that up first."""
    possible = {Direction.INBOUND} if side is Side.OUTSIDE else {Direction.OUTBOUND, Direction.INTERNAL}
    return not possible.isdisjoint(compiled(policy).asked_first_times)


def asks_for_day_count(policy: Policy) -> bool:
    """Whether the day's number of first-time recipients matters of a message that has none."""
    return compiled(policy).asked_day_count


def asks_for_authentication(policy: Policy, side: Side) -> bool:
    """Whether deciding for mail from this side asks who really sent it: only of what comes from outside."""
    return side is Side.OUTSIDE and compiled(policy).asked_authentication


def decide_at_rcpt(case: Case, policy: Policy, epoch: Epoch, today: date) -> Verdict | None:
    """At RCPT, on the envelope (`inspection` is None, one recipient): a REJECT that no content can make milder, or None. A waiver that
    may come to hold speaks against it, and so does a rule that keeps evidence: what is refused now leaves none. Nothing is deferred here:
    whether inspectors answer is known after DATA."""
    ready, address = compiled(policy), case.recipients[0].mailbox.key
    facts = Facts(MessageFacts(case, epoch.phase), address, ready.direction(case, address))
    certain = tuple(
        rule.match
        for _, rule, truth in ready.refusing.standing(facts, today)
        if truth is YES and not may_be_waived(rule.match, facts, ready, today)
    )
    # A rule that keeps counts whatever it says besides: a rejection beside it takes nothing away of what it does.
    if not certain or any(truth is YES for _, _, truth in ready.keeping.standing(facts, today)):
        return None
    return Verdict(Disposition.REJECT, certain, because=certain[0].because)


_Said = Callable[..., Verdict]
"""A verdict but for its disposition, reason, route and alert."""


def _verdict(facts: Facts, matches: list[Match], policy: Compiled, said: _Said) -> Verdict:
    standing = [match for match in matches if match.waived_by is None]
    strictest = max((match.disposition for match in standing), default=Disposition.DELIVER)
    because = next((match.because for match in standing if match.disposition is strictest), "released")
    if strictest is not Disposition.DELIVER:
        alert = NO_RULE if all(match.rule == NO_RULE for match in standing) else None
        return said(strictest, because=because, alert=alert)
    return _deliver(facts, matches, policy, because, said)


def _deliver(facts: Facts, matches: list[Match], policy: Compiled, because: str, said: _Said) -> Verdict:
    """The route; and `not yet`, where an inspector that must answer did not."""
    named = policy.named_routes(match for match in matches if match.waived_by is None)
    if len(named) > 1:
        text = f"rules name different routes: {', '.join(sorted(named))}"
        return said(Disposition.HOLD, because=text, alert=SEVERAL_ROUTES)
    route = next(iter(named), None) or policy.first_route(facts.recipient)
    if route is None:
        return said(Disposition.HOLD, because="no route leads to this recipient", alert=NO_ROUTE)
    missing = _missing_inspectors(facts, policy)
    if missing:
        return said(Disposition.DELIVER, deferred=True, because=f"no answer from {', '.join(missing)}", route=route)
    return said(Disposition.DELIVER, because=because, route=route)


def _missing_inspectors(facts: Facts, policy: Compiled) -> list[str]:
    """Required and silent. Where nobody has looked inside at all, the readers are silent, whatever is required."""
    required: tuple[str, ...] = getattr(policy.policy.inspection, facts.direction.value)
    inspection = facts.message.case.inspection
    answered = inspection.answered if inspection else ()
    unavailable = inspection.unavailable if inspection else ()
    silent = [name for name in required if name not in answered or name in unavailable]
    return silent or (["any reader"] if facts.message.may_pass else [])
