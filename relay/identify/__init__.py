"""Which client is this: login, certificate or address. Promise: who is not named in policy is nobody."""

import ipaddress
from functools import lru_cache

from relay.model.client import Peer
from relay.policy.models import Client, Policy


def identify(peer: Peer, policy: Policy) -> Client | None:
    """The client of the policy that this peer is, on its side; the strongest identity counts: a login, then a certificate, then
    the narrowest address range. None: nobody."""
    clients = [client for client in policy.clients if client.side is peer.side]
    if peer.login is not None:
        return next((client for client in clients if peer.login in client.logins), None)
    if peer.tls is not None and (by_certificate := _by_certificate(peer, clients)):
        return by_certificate
    return _by_address(peer.address, clients)


def _by_certificate(peer: Peer, clients: list[Client]) -> Client | None:
    assert peer.tls is not None
    names = {name.lower() for name in peer.tls.certificate_names}
    if peer.tls.certificate_sha256:
        names.add(f"sha256:{peer.tls.certificate_sha256.lower()}")
    return next((client for client in clients if any(certificate.lower() in names for certificate in client.certificates)), None)


def _by_address(text: str, clients: list[Client]) -> Client | None:
    address = _address(text)
    if address is None:
        return None
    ranges = [(network.prefixlen, client) for client in clients for network in client.addresses if address in network]
    return max(ranges, key=lambda pair: pair[0])[1] if ranges else None


@lru_cache(maxsize=1000)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A client brings many messages. None: a PROXY header may name a unix socket."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
