"""What follows besides the disposition: the union over all rules that match, so that their order means nothing."""

from collections.abc import Iterable

from relay.decide.compiled import Compiled
from relay.decide.facts import Facts
from relay.decide.logic import UNKNOWN
from relay.decide.standing import Placed
from relay.model.decision import Match
from relay.model.effects import NO_EFFECTS, Effects

OWN_CLIENT = "sluis"
"""Of what Sluis writes itself nobody is told: a notice that a rule matched could match that rule again."""


def effects_of(facts: Facts, matches: Iterable[Match], policy: Compiled, standing: Iterable[Placed]) -> Effects:
    """Of the rules among `matches` that no waiver took away. What staff released still leaves as its rules say: a release lets it go,
    and says nothing of the way. A rule that lets pass and of which it is not known whether it holds asks for its TLS all the same."""
    if not policy.effects:
        return NO_EFFECTS
    found = [policy.effects[match.rule] for match in matches if match.rule in policy.effects and not _by_waiver(match)]
    if policy.asking_tls and any(truth is UNKNOWN and rule.match.rule in policy.asking_tls for _, rule, truth in standing):
        found.append(Effects(require_tls=True))
    if not found:
        return NO_EFFECTS
    own = facts.message.case.client == OWN_CLIENT
    return Effects(
        keep=any(effects.keep for effects in found),
        require_tls=any(effects.require_tls for effects in found),
        fields=tuple(sorted({field for effects in found for field in effects.fields})),
        notify=() if own else tuple(sorted({told for effects in found for told in effects.notify})),
    )


def _by_waiver(match: Match) -> bool:
    return match.waived_by is not None and match.waived_by.startswith("waiver ")
