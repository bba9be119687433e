"""Checks of a whole policy that no single entry can make: names that nothing defines, ranges that are empty, waivers that can waive
nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network
from pathlib import Path

from relay.model.client import Side
from relay.policy.crosscheck_rules import check_rules, check_waivers
from relay.policy.models import Client, Policy, RecipientCheck
from relay.policy.named import unknown
from relay.policy.places import Places
from relay.settings.problems import nearest


def crosscheck(policy: Policy, places: Places, folder: Path) -> list[str]:
    """Every problem, as `file:line: what (hint)`."""
    problems: list[str] = []
    problems += check_rules(policy, places)
    problems += check_waivers(policy, places)
    problems += _clients(policy, places)
    problems += _senders(policy, places)
    problems += _ways(policy, places)
    problems += _recipients(policy, places, folder)
    problems += _organisation(policy, folder)
    return problems


def _clients(policy: Policy, places: Places) -> Iterator[str]:
    seen: dict[tuple[Side, str], str] = {}
    for client in policy.clients:
        where = places.of("clients", client.name)
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
            yield f"{places.of('senders', rule.login)}: no client has the login '{rule.login}'{nearest(rule.login, logins)}"


def _ways(policy: Policy, places: Places) -> Iterator[str]:
    for route in policy.routes:
        if route.lmtp and route.smart_host is None:
            yield f"{places.of('routes', route.name)}: LMTP is never looked up by MX: name a smart_host (RFC 2033 §1)"
    for signing in policy.signing:
        for selector in _twice(key.selector for key in signing.keys):
            yield f"{places.of('signing', signing.domain)}: the selector '{selector}' stands here twice"


def _recipients(policy: Policy, places: Places, folder: Path) -> Iterator[str]:
    for index, entry in enumerate(policy.recipients):
        where = places.of("recipients", str(index))
        needed, other = ("file", "route") if entry.check is RecipientCheck.LIST else ("route", "file")
        if getattr(entry, needed) is None:
            yield f"{where}: 'check: {entry.check.value}' needs the key '{needed}'"
        if getattr(entry, other) is not None:
            yield f"{where}: 'check: {entry.check.value}' does not look at the key '{other}'"
        if entry.file is not None:
            yield from _recipient_list(entry.file, where, policy, folder)
        yield from unknown(where, "route", (entry.route,) if entry.route else (), (route.name for route in policy.routes))


def _recipient_list(file: str, where: str, policy: Policy, folder: Path) -> Iterator[str]:
    files = {f"lists/{name}.txt": entries for name, entries in policy.lists.items()}
    found = files.get(file)
    if found is None:
        yield f"{where}: the list file '{file}' is not in {folder / 'lists'}{nearest(file, list(files))}"
    elif found.patterns or found.digests or any("@" not in entry for entry in found.literal):
        yield f"{where}: a list of recipients holds addresses only, and '{file}' has other entries"


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


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
