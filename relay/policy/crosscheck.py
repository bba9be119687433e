"""Checks of a whole policy that no single entry can make: names that nothing defines, ranges that are empty, waivers that can waive
nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network
from pathlib import Path

from relay.model.client import Side
from relay.model.decision import Disposition
from relay.policy.builtin import BUILTIN
from relay.policy.models import AttachmentCondition, Client, Condition, Policy, RecipientCheck
from relay.settings.problems import nearest

Places = dict[tuple[str, str], str]


def crosscheck(policy: Policy, places: Places, folder: Path) -> list[str]:
    """Every problem, as `file:line: what (hint)`."""
    problems: list[str] = []
    problems += _rules(policy, places)
    problems += _waivers(policy, places)
    problems += _clients(policy, places)
    problems += _senders(policy, places)
    problems += _ways(policy, places)
    problems += _recipients(policy, places, folder)
    problems += _organisation(policy, folder)
    return problems


def _rules(policy: Policy, places: Places) -> Iterator[str]:
    for rule in policy.rules:
        where = places["rules", rule.name]
        if rule.name in BUILTIN:
            yield f"{where}: the rule '{rule.name}' is built in; choose another name"
        yield from _unknown(where, "route", (rule.route,) if rule.route else (), (route.name for route in policy.routes))
        if rule.route is not None and rule.disposition is not Disposition.DELIVER:
            yield f"{where}: a route goes with 'then: deliver' only"
        for condition in (rule.when, rule.unless):
            yield from _condition(condition, where, policy)


def _waivers(policy: Policy, places: Places) -> Iterator[str]:
    finals = {rule.name for rule in policy.rules if rule.final} | {name for name, (_, final, _) in BUILTIN.items() if final}
    names = {rule.name for rule in policy.rules} | BUILTIN.keys()
    mildest = {rule.name for rule in policy.rules if rule.disposition is Disposition.DELIVER}
    for waiver in policy.waivers:
        where = places["waivers", waiver.name]
        yield from _unknown(where, "rule", waiver.rules, names)
        for name in waiver.rules:
            if name in finals:
                yield f"{where}: the rule '{name}' is final: no waiver can take it away"
            elif name in mildest:
                yield f"{where}: the rule '{name}' says deliver: there is nothing to waive"
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
        yield from _mapped(client, where)


def _mapped(client: Client, where: str) -> Iterator[str]:
    for network in client.addresses:
        if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
            plain = f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}"
            yield f"{where}: {network} never matches; an IPv4 client is written as '{plain}'"


def _senders(policy: Policy, places: Places) -> Iterator[str]:
    logins = [login for client in policy.clients for login in client.logins]
    for rule in policy.senders:
        if rule.login not in logins:
            yield f"{places['senders', rule.login]}: no client has the login '{rule.login}'{nearest(rule.login, logins)}"


def _ways(policy: Policy, places: Places) -> Iterator[str]:
    for route in policy.routes:
        if route.lmtp and route.smart_host is None:
            yield f"{places['routes', route.name]}: LMTP is never looked up by MX: name a smart_host (RFC 2033 §1)"
    for signing in policy.signing:
        for selector in _twice(key.selector for key in signing.keys):
            yield f"{places['signing', signing.domain]}: the selector '{selector}' stands here twice"


def _recipients(policy: Policy, places: Places, folder: Path) -> Iterator[str]:
    for index, entry in enumerate(policy.recipients):
        where = places["recipients", str(index)]
        needed, other = ("file", "route") if entry.check is RecipientCheck.LIST else ("route", "file")
        if getattr(entry, needed) is None:
            yield f"{where}: 'check: {entry.check.value}' needs the key '{needed}'"
        if getattr(entry, other) is not None:
            yield f"{where}: 'check: {entry.check.value}' does not look at the key '{other}'"
        if entry.file is not None and entry.file not in policy.recipient_lists:
            hint = nearest(entry.file, list(policy.recipient_lists))
            yield f"{where}: the list file '{entry.file}' is not in {folder / 'lists'}{hint}"
        yield from _unknown(where, "route", (entry.route,) if entry.route else (), (route.name for route in policy.routes))


def _organisation(policy: Policy, folder: Path) -> Iterator[str]:
    where = f"{folder / 'organisation.yaml'}:1"
    organisation = policy.organisation
    for pattern in organisation.domains:
        if pattern == "*" or "@" in pattern:
            yield f"{where}: '{pattern}' is no domain of the organisation: write 'b.nl' or '.b.nl'"
    for what, names in (("phase", organisation.phases), ("partner", tuple(partner.name for partner in organisation.partners))):
        for name in _twice(names):
            yield f"{where}: the {what} '{name}' stands here twice"
    if "@" not in organisation.postmaster:
        yield f"{where}: the postmaster '{organisation.postmaster}' is no address"


def _condition(condition: Condition | None, where: str, policy: Policy) -> Iterator[str]:
    if condition is None:
        return
    yield from _can_hold(condition, where)
    if condition.attachment is not None:
        yield from _can_hold(condition.attachment, where)
    yield from _unknown(where, "phase", condition.phase, policy.organisation.phases)
    yield from _unknown(where, "partner", condition.partner, (partner.name for partner in policy.organisation.partners))
    yield from _unknown(where, "client", condition.client, [*(client.name for client in policy.clients), "sluis"])
    for child in (*(condition.any or ()), *(condition.all or ()), condition.not_):
        yield from _condition(child, where, policy)


def _can_hold(condition: Condition | AttachmentCondition, where: str) -> Iterator[str]:
    low, high = condition.larger_than, condition.smaller_than
    if low is not None and high is not None and low + 1 >= high:
        yield f"{where}: nothing is larger than {low} and smaller than {high}"
    for name in type(condition).model_fields:
        if getattr(condition, name) == ():
            yield f"{where}: '{name}' is an empty list: name something, or leave the key out"


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _unknown(where: str, what: str, used: Iterable[str] | None, defined: Iterable[str]) -> Iterator[str]:
    known = list(defined)
    for name in used or ():
        if name not in known:
            yield f"{where}: no {what} is named '{name}'{nearest(name, known)}"
