"""DNS through dnspython: the Resolver that the road uses."""

import asyncio
import re
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from relay.model.errors import ConfigurationError
from relay.model.ports import MailExchanger, ResolverTemporaryError

LIFETIME = 20.0  # seconds for one question, over all name servers and retries
SERVER = re.compile(r"\[?(?P<address>[^\]]+?)\]?:(?P<port>\d+)")
LOOPBACK = ("::1", "127.0.0.1")


class DnsResolver:
    """Asks the name servers given as `address:port`, or those of the system. Answers are kept for their time to live."""

    def __init__(self, servers: Sequence[str] = (), lifetime: float = LIFETIME) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration as error:
            raise ConfigurationError(["/etc/resolv.conf: no name server (set delivery.resolver)"]) from error
        self._resolver.cache = dns.resolver.LRUCache(10_000)
        self._resolver.lifetime = lifetime
        if servers:
            self._resolver.nameservers = [_nameserver(server) for server in servers]

    async def mx(self, domain: str) -> Sequence[MailExchanger]:
        """All MX records; a null MX (RFC 7505) has an empty host."""
        records = [record for record in await self._ask(domain, dns.rdatatype.MX) if isinstance(record, MX)]
        return [MailExchanger(record.preference, _name(record.exchange.to_text())) for record in records]

    async def addresses(self, host: str) -> Sequence[str]:
        """AAAA, then A: whoever has IPv6 is reached by it, and a machine without it fails over at once. One family without an answer
        does not hide the other."""
        if host.rstrip(".").lower() == "localhost":  # RFC 6761 §6.3: never asked of DNS
            return LOOPBACK
        results = await asyncio.gather(self._ask(host, dns.rdatatype.AAAA), self._ask(host, dns.rdatatype.A), return_exceptions=True)
        found, problem = [], None
        for result in results:
            if isinstance(result, ResolverTemporaryError):
                problem = result
            elif isinstance(result, BaseException):
                raise result
            else:
                found += [record.address for record in result if isinstance(record, A | AAAA)]
        if not found and problem:
            raise problem
        return found

    async def addresses_of(self, host: str, version: int) -> Sequence[str]:
        """A records for 4, AAAA records for 6."""
        kind = dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA
        return [record.address for record in await self._ask(host, kind) if isinstance(record, A | AAAA)]

    async def pointers(self, address: str) -> Sequence[str]:
        """Names of an address, in lower case."""
        name = dns.reversename.from_address(address).to_text()
        return [_name(record.target.to_text()) for record in await self._ask(name, dns.rdatatype.PTR) if isinstance(record, PTR)]

    async def txt(self, name: str) -> Sequence[bytes]:
        """TXT records; the strings of one record are joined (RFC 6376 §3.6.2.2)."""
        return [b"".join(record.strings) for record in await self._ask(name, dns.rdatatype.TXT) if isinstance(record, TXT)]

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> list[object]:
        try:
            question = dns.name.from_text(name.rstrip("."))
        except (dns.exception.DNSException, UnicodeError):  # a label that is empty or too long names nothing
            return []
        try:
            answer = await self._resolver.resolve(question, kind, raise_on_no_answer=False, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise ResolverTemporaryError(f"{kind.name} {name}: {type(error).__name__}") from error
        return list(answer.rrset or ())


def _name(text: str) -> str:
    return text.rstrip(".").lower()


def _nameserver(server: str) -> dns.nameserver.Nameserver:
    match = SERVER.fullmatch(server)
    if match is None:
        raise ConfigurationError([f"delivery.resolver: `{server}` is not address:port"])
    return dns.nameserver.Do53Nameserver(match["address"], int(match["port"]))
