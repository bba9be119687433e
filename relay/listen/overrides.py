"""Who is really there, said by a proxy that may say so: PROXY v1 and v2, XCLIENT and XFORWARD (Postfix XCLIENT_README, XFORWARD_README)."""

import asyncio
import ipaddress
from dataclasses import replace
from typing import Any

from aiosmtpd.proxy_protocol import get_proxy

from relay.listen import replies
from relay.listen.channel import Gone
from relay.listen.commands import SyntaxProblem, decode_xtext, parse_hello
from relay.model.client import Peer
from relay.model.errors import Refusal

_UNAVAILABLE = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_XCLIENT = frozenset({"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"})
_XFORWARD = frozenset({"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"})


async def read_proxy(reader: Any, peer: Peer) -> Peer:
    """The header must come first and be whole. Raises Gone: an unreadable header is no client that we could answer."""
    try:
        data = await get_proxy(reader)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise Gone from None  # a health check that only connects
    if data is None or not data.valid:
        raise Gone(f"bad PROXY header: {getattr(data, 'error', '')}")
    if data.version == 2 and data.command is not None and int(data.command) == 0:
        return peer  # LOCAL: the proxy's own health check
    if not isinstance(data.src_addr, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return peer  # v1 UNKNOWN, v2 UNSPEC or a unix socket: the connection itself is all there is
    return replace(
        peer,
        proxy=peer.address,
        address=plain_address(str(data.src_addr)),
        port=int(data.src_port or 0),
        local_address=plain_address(str(data.dst_addr)),
        local_port=int(data.dst_port or 0),
    )


def plain_address(text: str) -> str:
    """Without scope, and an IPv4 address as such. Raises ValueError."""
    parsed = ipaddress.ip_address(text.partition("%")[0])
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _attributes(argument: str, known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in argument.split():
        name, mark, value = word.partition("=")
        if not mark or name.upper() not in known or name.upper() in found:
            raise Refusal(replies.BAD_PARAMETER)
        try:
            found[name.upper()] = decode_xtext(value)
        except SyntaxProblem:
            raise Refusal(replies.BAD_PARAMETER) from None
    if not found:
        raise Refusal(replies.BAD_PARAMETER)
    return found


def apply_xclient(peer: Peer, argument: str) -> Peer:
    """The attributes override what the socket says. A login that a proxy names is taken as its word: that is what the network list is
    for.
    """
    given = _attributes(argument, _XCLIENT)
    changed: dict[str, Any] = {"proxy": peer.proxy or peer.address, "helo": "", "esmtp": False}
    for name, value in given.items():
        if value.upper() in _UNAVAILABLE:
            if name == "LOGIN":
                changed["login"] = None
            continue
        if name in ("ADDR", "DESTADDR"):
            changed["address" if name == "ADDR" else "local_address"] = _address(value)
        elif name in ("PORT", "DESTPORT"):
            changed["port" if name == "PORT" else "local_port"] = _port(value)
        elif name == "HELO":
            changed["helo"] = _helo(value)
        elif name == "LOGIN":
            changed["login"] = value
    return replace(peer, **changed)


def apply_xforward(peer: Peer, argument: str) -> Peer:
    """For the log and the record only: it changes no identity."""
    given = _attributes(argument, _XFORWARD)
    return replace(peer, forwarded={**peer.forwarded, **{name.lower(): value for name, value in given.items()}})


def _address(value: str) -> str:
    text = value[5:] if value.upper().startswith("IPV6:") else value
    try:
        return plain_address(text)
    except ValueError:
        raise Refusal(replies.BAD_PARAMETER) from None


def _port(value: str) -> int:
    if not value.isdigit() or int(value) > 65535:
        raise Refusal(replies.BAD_PARAMETER)
    return int(value)


def _helo(value: str) -> str:
    try:
        return parse_hello(value)
    except SyntaxProblem:
        raise Refusal(replies.BAD_PARAMETER) from None


def in_networks(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in one of the networks of the settings."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in ipaddress.ip_network(network) for network in networks)
