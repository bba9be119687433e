"""SPF: whether the domain of the reverse-path lets this address send for it (RFC 7208). Explanations (`exp=`) are not asked for."""

import ipaddress
import re
from collections.abc import Sequence

from relay.authenticate.spf_macro import Address, dotted, expanded
from relay.authenticate.spf_record import Record, SpfError, Term, record_of
from relay.model.authentication import Result
from relay.model.ports import AuthenticationDns, ResolverTemporaryError

MOST_LOOKUPS = 10  # RFC 7208 §4.6.4: terms that ask DNS
MOST_VOID = 2  # and answers that hold nothing
MOST_HOSTS = 10  # MX and PTR records of one name
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[^.\\\x00-\x1f\x7f-\U0010FFFF]{1,63}\.)+[^.\\\x00-\x1f\x7f-\U0010FFFF]{1,63}")
"""What can be asked of DNS, and has two labels at least (RFC 7208 §4.3): visible characters and blanks, but for the backslash, which means
something in the text form of a name (RFC 1035 §5.1)."""


async def spf(address: str, sender: str, helo: str, dns: AuthenticationDns) -> tuple[Result, str]:
    """And the domain that was asked. `sender` is the reverse-path with its domain in A-labels; that of the null one is postmaster at HELO
    (RFC 7208 §2.4)."""
    local, _, domain = (sender or f"postmaster@{helo}").rpartition("@")
    client = _address(address)
    if client is None or not _name(domain):
        return Result.NONE, domain
    try:
        return await Check(dns, client, local or "postmaster", domain, helo).of(domain), domain
    except SpfError:
        return Result.PERMERROR, domain
    except ResolverTemporaryError:
        return Result.TEMPERROR, domain


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _name(domain: str) -> bool:
    return _NAME.fullmatch(domain) is not None and not domain.startswith("[")


class Check:
    """One evaluation, with what it may still ask. Raises SpfError, ResolverTemporaryError."""

    def __init__(self, dns: AuthenticationDns, address: Address, local: str, domain: str, helo: str) -> None:
        self._dns = dns
        self._address = address
        self._values = {
            "s": f"{local}@{domain}",
            "l": local,
            "o": domain,
            "i": dotted(address),
            "v": "in-addr" if address.version == 4 else "ip6",
            "h": helo or "unknown",
            "p": "unknown",  # differs from RFC 7208 §7.3: because whoever publishes `p` should not, and each use asks a dozen questions
        }
        self._lookups = 0
        self._void = 0

    async def of(self, domain: str) -> Result:
        """check_host() of RFC 7208 §4."""
        record = record_of(await self._dns.txt(domain)) if _name(domain) else None
        if record is None:
            return Result.NONE
        for term in record.terms:
            if await self._matches(term, domain):
                return term.result
        return await self._redirected(record, domain)

    async def _redirected(self, record: Record, domain: str) -> Result:
        if not record.redirect:
            return Result.NEUTRAL
        self._count()
        result = await self.of(self._expanded(record.redirect, domain))
        if result is Result.NONE:  # RFC 7208 §6.1
            raise SpfError
        return result

    async def _matches(self, term: Term, domain: str) -> bool:
        if term.name == "all":
            return True
        if term.network is not None:
            return term.network.version == self._address.version and self._address in term.network
        self._count()
        target = self._expanded(term.domain, domain) if term.domain else domain
        match term.name:
            case "include":
                return await self._includes(target)
            case "exists":
                return bool(await self._asked(target, 4))
            case "a":
                return self._among(await self._asked(target, self._address.version), term)
            case "mx":
                return await self._exchanges(target, term)
        return await self._pointed(target)

    async def _includes(self, target: str) -> bool:
        result = await self.of(target)
        if result is Result.NONE:  # RFC 7208 §5.2
            raise SpfError
        return result is Result.PASS

    async def _exchanges(self, target: str, term: Term) -> bool:
        found = await self._dns.mx(target) if _name(target) else ()
        if len(found) > MOST_HOSTS:
            raise SpfError
        self._note(found)
        for exchanger in sorted(found, key=lambda one: one.preference):
            if exchanger.host and self._among(await self._asked(exchanger.host, self._address.version), term):
                return True
        return False

    async def _pointed(self, target: str) -> bool:
        """RFC 7208 §5.5: an error here is no match, and no more than that."""
        try:
            names = await self._dns.pointers(str(self._address))
        except ResolverTemporaryError:
            return False
        self._note(names)
        suffix = f".{target.lower()}"
        for name in [name for name in names[:MOST_HOSTS] if f".{name}".endswith(suffix)]:
            try:
                found = await self._dns.addresses_of(name, self._address.version)
                if any(ipaddress.ip_address(address) == self._address for address in found):
                    return True
            except ResolverTemporaryError:
                continue
        return False

    async def _asked(self, host: str, version: int) -> Sequence[str]:
        found = await self._dns.addresses_of(host, version) if _name(host) else ()
        self._note(found)
        return found

    def _among(self, found: Sequence[str], term: Term) -> bool:
        prefix = term.four if self._address.version == 4 else term.six
        return any(self._address in ipaddress.ip_network(f"{address}/{prefix}", strict=False) for address in found)

    def _expanded(self, text: str, domain: str) -> str:
        return expanded(text, {**self._values, "d": domain})

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > MOST_LOOKUPS:
            raise SpfError

    def _note(self, found: Sequence[object]) -> None:
        self._void += not found
        if self._void > MOST_VOID:
            raise SpfError
