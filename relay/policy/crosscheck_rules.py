"""Checks of rules and waivers against each other and against the names of the policy."""

from collections.abc import Iterator

from relay.model.address import address_key
from relay.model.decision import Disposition
from relay.policy.base import list_names
from relay.policy.builtin import BUILTIN
from relay.policy.conditions import AttachmentCondition, Condition
from relay.policy.match import PatternSet
from relay.policy.models import Policy
from relay.policy.named import unknown
from relay.policy.places import Path, Places
from relay.policy.possible import children, impossible
from relay.policy.rules import Rule
from relay.policy.several_routes import several_routes


def check_rules(policy: Policy, places: Places) -> Iterator[str]:
    """Every problem of the rules, as `file:line: what (hint)`."""
    seen: dict[str, str] = {}
    ours = PatternSet(policy.organisation.domains)
    for rule in policy.rules:
        where = places.of("rules", rule.name)
        if rule.name in BUILTIN:
            yield f"{where}: the rule '{rule.name}' is built in; choose another name"
        yield from _route(rule, places, policy)
        yield from _effects(rule, places, ours)
        if rule.since is not None and rule.until is not None and rule.since > rule.until:
            yield f"{places.of('rules', rule.name, 'since')}: since {rule.since} is after until {rule.until}: the rule never counts"
        for key, condition in (("when", rule.when), ("unless", rule.unless)):
            if condition is not None:
                yield from _condition(condition, ("rules", rule.name), (key,), policy, places)
        if rule.unless is not None and rule.unless == rule.when:
            yield f"{places.of('rules', rule.name, 'unless')}: 'unless' is the same as 'when': the rule never holds"
        other = seen.setdefault(_meaning(rule), rule.name)
        if other != rule.name:
            yield f"{where}: the rule '{rule.name}' says the same as '{other}', at {places.of('rules', other)}"

    yield from several_routes(policy, places)


def _meaning(rule: Rule) -> str:
    """All but how it is called and why."""
    return rule.model_dump_json(exclude={"name", "because", "tell"})


def _route(rule: Rule, places: Places, policy: Policy) -> Iterator[str]:
    if rule.route is not None and rule.disposition is not Disposition.DELIVER:
        yield f"{places.of('rules', rule.name, 'route')}: 'route' goes with 'then: deliver' only"
    yield from unknown(
        places.of("rules", rule.name, "route"), "route", (rule.route,) if rule.route else (), (route.name for route in policy.routes)
    )


def _effects(rule: Rule, places: Places, ours: PatternSet) -> Iterator[str]:
    """What is kept stays here; who is told is one of us, or mail would carry out what was found."""
    if rule.keep and rule.disposition not in (Disposition.QUARANTINE, Disposition.REJECT):
        yield f"{places.of('rules', rule.name, 'keep')}: 'keep' goes with 'then: quarantine' or 'then: reject' only"
    for address in rule.notify or ():
        if not ours.covers(address_key(address)):
            yield f"{places.of('rules', rule.name, 'notify')}: '{address}' is at none of our domains: nobody else is told"


def check_waivers(policy: Policy, places: Places) -> Iterator[str]:
    """Every problem of the waivers."""
    finals = {rule.name for rule in policy.rules if rule.final} | {name for name, (_, final, _) in BUILTIN.items() if final}
    names = {rule.name for rule in policy.rules} | BUILTIN.keys()
    mildest = {rule.name for rule in policy.rules if rule.disposition is Disposition.DELIVER}
    for waiver in policy.waivers:
        where = places.of("waivers", waiver.name, "rules")
        yield from unknown(where, "rule", waiver.rules, names)
        for name in waiver.rules:
            if name in finals:
                yield f"{where}: the rule '{name}' is final: no waiver can take it away"
            elif name in mildest:
                yield f"{where}: the rule '{name}' says deliver: there is nothing to waive"
        yield from _condition(waiver.when, ("waivers", waiver.name), ("when",), policy, places)


def _condition(condition: Condition, entry: tuple[str, str], inside: Path, policy: Policy, places: Places) -> Iterator[str]:
    for wrong in impossible(condition, policy, inside):
        yield f"{places.of(*entry, *wrong.inside)}: {wrong.what}"
    yield from _names(condition, entry, inside, policy, places)


def _names(condition: Condition, entry: tuple[str, str], inside: Path, policy: Policy, places: Places) -> Iterator[str]:
    """In the condition and in all that are in it: what it refers to is there, and what it says in CEL can be understood."""
    organisation = policy.organisation
    named = (
        ("phase", condition.phase, organisation.phases),
        ("partner", condition.partner, [partner.name for partner in organisation.partners]),
        ("client", condition.client, [*(client.name for client in policy.clients), "sluis"]),
    )
    for key, used, defined in named:
        if used:  # where it stands is asked for only then: most conditions have none of these
            yield from unknown(places.of(*entry, *inside, key), key, used, defined)
    for path, wanted in _lists(condition):
        if not wanted:
            continue
        yield from unknown(places.of(*entry, *inside, *path), "list", wanted, policy.lists)
        for name in wanted:
            holds_digests = name in policy.lists and bool(policy.lists[name].digests)
            if name in policy.lists and holds_digests != (path[-1] == "sha256"):
                yield f"{places.of(*entry, *inside, *path)}: the list '{name}' holds {'digests' if holds_digests else 'no digests'}"
    if condition.if_ is not None:
        from relay.policy import expression  # 15 MB, for those who use it

        below = int("\n" in condition.if_)  # of several lines the first stands under the key
        for line, what in expression.problems(condition.if_):
            yield f"{places.shifted(line + below, *entry, *inside, 'if')}: {what}"
    for path, child in children(condition, inside):
        yield from _names(child, entry, path, policy, places)


def _lists(condition: Condition) -> Iterator[tuple[Path, list[str]]]:
    attachment: AttachmentCondition | None = condition.attachment
    for key in ("sender", "header_from", "recipient"):
        yield (key,), list(list_names(getattr(condition, key)))
    yield ("group",), list(condition.group or ())
    if condition.header is not None:
        yield ("header", "recipients"), list(list_names(condition.header.recipients))
    if attachment is not None:
        yield ("attachment", "sha256"), list(list_names(attachment.sha256))
