"""Checks of a whole policy that no single entry can make: names that nothing defines, ranges that are empty, waivers that can waive
nothing.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from relay.model.client import Side
from relay.policy.builtin import BUILTIN
from relay.policy.models import Condition, Policy, RecipientCheck
from relay.settings.problems import nearest

Places = dict[tuple[str, str], str]


def crosscheck(policy: Policy, places: Places, folder: Path) -> list[str]:
    """Every problem, as `file:line: what (hint)`."""
    problems: list[str] = []
    problems += _rules(policy, places)
    problems += _waivers(policy, places)
    problems += _clients(policy, places)
    problems += _recipients(policy, places, folder)
    problems += _organisation(policy, folder)
    return problems


def _rules(policy: Policy, places: Places) -> Iterator[str]:
    for rule in policy.rules:
        where = places["rules", rule.name]
        if rule.name in BUILTIN:
            yield f"{where}: the rule '{rule.name}' is built in; choose another name"
        yield from _unknown(where, "route", (rule.route,) if rule.route else (), (route.name for route in policy.routes))
        for condition in (rule.when, rule.unless):
            yield from _condition(condition, where, policy)


def _waivers(policy: Policy, places: Places) -> Iterator[str]:
    finals = {rule.name for rule in policy.rules if rule.final} | {name for name, (_, final, _) in BUILTIN.items() if final}
    names = {rule.name for rule in policy.rules} | BUILTIN.keys()
    for waiver in policy.waivers:
        where = places["waivers", waiver.name]
        yield from _unknown(where, "rule", waiver.rules, names)
        for name in waiver.rules:
            if name in finals:
                yield f"{where}: the rule '{name}' is final: no waiver can take it away"
        yield from _condition(waiver.when, where, policy)


def _clients(policy: Policy, places: Places) -> Iterator[str]:
    seen: dict[tuple[Side, str], str] = {}
    for client in policy.clients:
        where = places["clients", client.name]
        if client.name in ("sluis", "gone"):
            yield f"{where}: the client name '{client.name}' is taken by Sluis itself"
        identities = [str(network) for network in client.addresses] + [*client.certificates, *client.logins]
        if not identities:
            yield f"{where}: the client '{client.name}' has no address, certificate or login, so nobody can be it"
        for identity in identities:
            other = seen.setdefault((client.side, identity.lower()), client.name)
            if other != client.name:
                yield f"{where}: {identity} names the client '{other}' too; one of them must go"
        if client.forwards and client.side is Side.OUTSIDE:
            yield f"{where}: only a client inside can forward (a foreign From from outside is ordinary mail)"


def _recipients(policy: Policy, places: Places, folder: Path) -> Iterator[str]:
    for index, entry in enumerate(policy.recipients):
        where = places["recipients", str(index)]
        if entry.check is RecipientCheck.LIST and (entry.file is None or entry.file not in policy.recipient_lists):
            hint = nearest(entry.file or "", list(policy.recipient_lists))
            yield f"{where}: the list file '{entry.file or ''}' is not in {folder / 'lists'}{hint}"
        if entry.check is RecipientCheck.PROBE:
            yield from _unknown(where, "route", (entry.route or "",), (route.name for route in policy.routes))


def _organisation(policy: Policy, folder: Path) -> Iterator[str]:
    where = f"{folder / 'organisation.yaml'}:1"
    if "*" in policy.organisation.domains:
        yield f"{where}: the domains of the organisation can't be everything"
    if "@" not in policy.organisation.postmaster:
        yield f"{where}: the postmaster '{policy.organisation.postmaster}' is no address"


def _condition(condition: Condition | None, where: str, policy: Policy) -> Iterator[str]:
    if condition is None:
        return
    low, high = condition.larger_than, condition.smaller_than
    if low is not None and high is not None and low + 1 >= high:
        yield f"{where}: nothing is larger than {low} and smaller than {high}"
    yield from _unknown(where, "phase", condition.phase, policy.organisation.phases)
    yield from _unknown(where, "partner", condition.partner, (partner.name for partner in policy.organisation.partners))
    yield from _unknown(where, "client", condition.client, [*(client.name for client in policy.clients), "sluis"])
    for name in ("direction", "client", "phase", "sender", "header_from", "recipient", "partner", "finding", "finding_name"):
        if getattr(condition, name) == ():
            yield f"{where}: '{name}' is an empty list, so the condition can never hold"
    for child in (*(condition.any or ()), *(condition.all or ()), condition.not_):
        yield from _condition(child, where, policy)


def _unknown(where: str, what: str, used: Iterable[str] | None, defined: Iterable[str]) -> Iterator[str]:
    known = list(defined)
    for name in used or ():
        if name not in known:
            yield f"{where}: no {what} is named '{name}'{nearest(name, known)}"
