"""Where mail goes: a smart host, an address literal, or the mail exchangers of a domain (RFC 5321 §5, RFC 7505)."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import SystemRandom

from relay.deliver.answer import Answer, HopFailed, found
from relay.deliver.connection import Host
from relay.model.address import domain_key
from relay.model.ports import MailExchanger, Resolver, ResolverTemporaryError
from relay.policy.models import Route

EXCHANGERS = 5  # RFC 5321 §5.1 asks for at least two addresses; more than this is no help, and a domain may list hundreds
ADDRESSES = 10
SMART_HOST = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:\s]+)):(?P<port>\d{1,5})")

random = SystemRandom()


class Unroutable(HopFailed):
    """No host to go to; `answer` says whether that may pass."""


@dataclass(frozen=True, slots=True)
class Ourselves:
    """How to know ourselves in an MX list: names as keys, and `address:port` of our listeners."""

    names: frozenset[str]
    sockets: frozenset[str]

    def is_name(self, host: str) -> bool:
        return domain_key(host) in self.names

    def is_socket(self, address: str, port: int) -> bool:
        return f"[{address}]:{port}" in self.sockets or f"{address}:{port}" in self.sockets


class Destinations:
    """Finds hosts for a route and domain, best first."""

    def __init__(self, resolver: Resolver, ourselves: Ourselves) -> None:
        self._resolver = resolver
        self._ourselves = ourselves

    async def hosts(self, route: Route, domain: str) -> list[Host]:
        """`domain` is the recipient's; it does not matter for a smart host. Raises Unroutable."""
        try:
            if route.smart_host is not None:
                return await self._smart_host(route.smart_host)
            if domain.startswith("["):
                return [_literal(domain, route.port)]
            return await self._exchangers(domain_key(domain), route.port)
        except ResolverTemporaryError as error:
            raise Unroutable(found("4.4.3", f"DNS gave no answer: {error}")) from error

    async def _smart_host(self, text: str) -> list[Host]:
        host = _host_and_port(text)
        if host is None:
            raise Unroutable(found("4.3.5", f"the route's smart host `{text}` is not host:port"))
        name, port, is_address = host
        if is_address:
            return [Host(name, name, port)]
        addresses = await self._resolver.addresses(name)
        if not addresses:  # a mistake in the policy or in DNS: no reason to bounce mail
            raise Unroutable(found("4.4.4", f"the smart host {name} has no address"))
        return [Host(name, address, port) for address in addresses[:ADDRESSES]]

    async def _exchangers(self, domain: str, port: int) -> list[Host]:
        if not domain or not domain.isascii() or len(domain) > 253:
            raise Unroutable(found("5.1.2", f"{domain} is no domain"))
        exchangers = await self._resolver.mx(domain)
        if not exchangers:  # RFC 5321 §5.1: the domain itself counts as its exchanger
            return await self._implicit(domain, port)
        if len(exchangers) == 1 and exchangers[0].host in ("", "."):
            raise Unroutable(found("5.1.10", f"{domain} takes no mail (null MX, RFC 7505)"))
        usable = self._before_ourselves(domain, exchangers)
        return await self._addresses(domain, usable[:EXCHANGERS], port)

    async def _implicit(self, domain: str, port: int) -> list[Host]:
        if self._ourselves.is_name(domain):
            raise Unroutable(_loop(domain))
        addresses = await self._resolver.addresses(domain)
        if not addresses:
            raise Unroutable(found("5.1.2", f"{domain} does not exist, or has neither MX nor address"))
        return self._not_ourselves(domain, [Host(domain, address, port) for address in addresses[:ADDRESSES]])

    def _before_ourselves(self, domain: str, exchangers: Sequence[MailExchanger]) -> list[MailExchanger]:
        """Sorted by preference, equals in random order; if we are in the list, only what is preferred over us (RFC 5321 §5.1)."""
        shuffled = random.sample(list(exchangers), len(exchangers))
        ordered = sorted(shuffled, key=lambda exchanger: exchanger.preference)
        own = [exchanger.preference for exchanger in ordered if self._ourselves.is_name(exchanger.host)]
        if not own:
            return ordered
        better = [exchanger for exchanger in ordered if exchanger.preference < min(own)]
        if not better:
            raise Unroutable(_loop(domain))
        return better

    async def _addresses(self, domain: str, exchangers: list[MailExchanger], port: int) -> list[Host]:
        hosts: list[Host] = []
        unknown: ResolverTemporaryError | None = None
        for exchanger in exchangers:
            try:
                addresses = await self._resolver.addresses(exchanger.host)
            except ResolverTemporaryError as error:
                unknown = error
                continue
            hosts += [Host(exchanger.host, address, port) for address in addresses]
        if hosts:
            return self._not_ourselves(domain, hosts[:ADDRESSES])
        if unknown:
            raise unknown
        raise Unroutable(found("5.4.4", f"none of the mail exchangers of {domain} has an address"))

    def _not_ourselves(self, domain: str, hosts: list[Host]) -> list[Host]:
        for index, host in enumerate(hosts):
            if self._ourselves.is_socket(host.address, host.port):
                hosts = hosts[:index]
                break
        if not hosts:
            raise Unroutable(_loop(domain))
        return hosts


def _loop(domain: str) -> Answer:
    return found("5.4.6", f"mail for {domain} would come back to this relay")


def _literal(domain: str, port: int) -> Host:
    """RFC 5321 §4.1.3: `[192.0.2.1]` and `[IPv6:2001:db8::1]`; other tags are not ours to know."""
    text = domain.strip("[]")
    address = text[5:] if text.lower().startswith("ipv6:") else text
    if not domain.endswith("]") or not _is_address(address) or (":" in address) != text.lower().startswith("ipv6:"):
        raise Unroutable(found("5.1.3", f"{domain} is no address literal"))
    return Host(address, address, port)


@lru_cache(maxsize=1000)
def _host_and_port(text: str) -> tuple[str, int, bool] | None:
    """A smart host's name as a key, its port, and whether the name is an address; None where the text is none of this."""
    match = SMART_HOST.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65_535:
        return None
    name = domain_key(match["literal"] or match["name"])
    return name, int(match["port"]), _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
