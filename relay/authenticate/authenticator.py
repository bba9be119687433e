"""Everything that is asked about one message, at once and with an end."""

import asyncio
import re
from collections.abc import Awaitable
from typing import TypeVar

from relay.authenticate.dkim import best, verified
from relay.authenticate.dmarc import dmarc
from relay.authenticate.spf import spf
from relay.model.address import domain_key
from relay.model.authentication import Authentication, Result, Signature, SignatureResult
from relay.model.client import Peer
from relay.model.message import Inspected
from relay.model.ports import AuthenticationDns

SECONDS = 5.0
"""For all of it together: a name server that lives answers in less than one, and the client is waiting for its reply."""
FIRST_SHARE = 0.6
"""Of that for SPF and DKIM, which ask name servers that whoever sends may have chosen: slow ones must leave time to ask what the domain in
From wants."""
Found = TypeVar("Found")


class DnsAuthenticator:
    """An Authenticator over DNS."""

    def __init__(self, dns: AuthenticationDns, seconds: float = SECONDS) -> None:
        self._dns = dns
        self._seconds = seconds

    async def authenticate(self, inspected: Inspected, already_accepted: bool) -> Authentication:
        """What is not there in time is a `temperror`."""
        received, header = inspected.received, inspected.inspection.header
        now = asyncio.get_running_loop().time()
        soon, end = now + self._seconds * FIRST_SHARE, now + self._seconds
        path = received.envelope.sender.path
        sender = f"{path.local}@{domain_key(path.domain)}" if path else ""
        address, helo = _sent_by(received.peer, already_accepted)

        async def by_address() -> tuple[Result | None, str]:
            if address is None:
                return None, ""
            late = (Result.TEMPERROR, sender.rpartition("@")[2] or helo)
            return await _in_time(spf(address, sender, helo, self._dns), soon, late)

        of_key = (_in_time(verified(one, self._dns), soon, _late(one)) for one in inspected.inspection.signatures)
        by_spf, signatures = await asyncio.gather(by_address(), asyncio.gather(*of_key))
        domains = {address.rpartition("@")[2] for address in header.from_addresses}
        author = domains.pop() if len(domains) == 1 and header.from_fields == 1 else ""
        result: Result | None = Result.PERMERROR  # RFC 9989 §4.2: nobody knows whose record would count
        policy = ""
        if author:
            result, policy = await _in_time(dmarc(author, by_spf, signatures, self._dns), end, (Result.TEMPERROR, ""))
        return Authentication(by_spf[0], best(signatures), result, policy, by_spf[1], author, tuple(signatures))


def _sent_by(peer: Peer, already_accepted: bool) -> tuple[str | None, str]:
    """The address and the name in EHLO of the server that sent it: what an edge of ours says with XFORWARD, which only it may use, else the
    client's own. None where it is not known."""
    if "addr" in peer.forwarded:
        address = peer.forwarded["addr"]
        known = not address.startswith("[") and address.upper() != "UNKNOWN"
        return re.sub("(?i)^ipv6:", "", address) if known else None, domain_key(peer.forwarded.get("helo", ""))
    return None if already_accepted else peer.address, domain_key(peer.helo)


async def _in_time(work: Awaitable[Found], end: float, late: Found) -> Found:
    try:
        async with asyncio.timeout_at(end):
            return await work
    except TimeoutError:
        return late


def _late(signature: Signature) -> SignatureResult:
    """Where DNS was asked, and did not answer."""
    return SignatureResult(signature.domain, signature.selector, Result(signature.known or Result.TEMPERROR))
