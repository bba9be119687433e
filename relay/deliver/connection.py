"""Opens connections with aiosmtplib: greeting, EHLO or LHLO, STARTTLS, login. The transaction afterwards is our own."""

import asyncio
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from typing import cast

import aiosmtplib

from relay.deliver.answer import Answer, HopFailed, Lost, Stale, found, replied
from relay.deliver.channel import LINE_LIMIT, Channel
from relay.deliver.login import Login
from relay.model.client import Tls
from relay.policy.models import TlsLevel

RESET = 5.0  # seconds for the reply to RSET: a server that is slower gets a fresh connection


@dataclass(frozen=True, slots=True)
class Host:
    """One address of a next hop. `name` is what its certificate must say: a domain in A-labels, or the address itself."""

    name: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Approach:
    """How to open a connection. Times in seconds."""

    hostname: str
    level: TlsLevel
    context: ssl.SSLContext | None
    login: Login | None
    lmtp: bool
    connect_timeout: float
    command_timeout: float


@dataclass(slots=True)
class Connection:
    """An open dialogue after its greeting. `extensions` maps EHLO keywords in lower case to their parameters."""

    host: Host
    channel: Channel
    extensions: dict[str, str]
    tls: Tls | None
    lmtp: bool
    transactions: int = 0
    unfinished: bool = False
    """MAIL was said, and nothing has ended the transaction yet."""

    async def reset(self, timeout: float) -> None:
        """Before a new transaction: ends one that came to no final dot. Raises Stale."""
        if not self.unfinished:
            return
        try:
            answer = await self.channel.command(b"RSET", min(RESET, timeout))
        except Lost as error:
            raise Stale(str(error)) from None
        if answer.code != 250:
            raise Stale(str(answer))
        self.unfinished = False

    async def first_reply(self, timeout: float) -> Answer:
        """To MAIL. An idle connection may have come to its end meanwhile: without a word, or with 421 (RFC 5321 §3.8). Raises Stale then,
        Lost for a fresh one."""
        reused = self.transactions > 1
        try:
            answer = await self.channel.reply(timeout)
        except Lost as error:
            if reused:
                raise Stale(str(error)) from None
            raise
        if reused and answer.code == 421:
            raise Stale(str(answer))
        return answer

    def offers(self, keyword: str) -> bool:
        """Whether EHLO named the extension."""
        return keyword in self.extensions


async def connect(host: Host, approach: Approach) -> Connection:
    """Opens a connection as `approach` demands. Raises HopFailed; what was opened is closed then."""
    client = aiosmtplib.SMTP(
        sock=await _socket(host, approach.connect_timeout),
        local_hostname=approach.hostname,
        start_tls=False,
        timeout=approach.command_timeout,
    )
    try:
        await client.connect()
        await _hello(client, approach)
        await _secure(client, host, approach)
        if approach.login:
            await _log_in(client, approach.login)
            await _hello(client, approach)  # RFC 4954 §4: extensions may differ after AUTH
        return _take_over(client, host, approach.lmtp)
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        raise HopFailed(_refused(host, error)) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        client.close()
        raise HopFailed(found("4.4.2", f"{host}: {error}")) from error
    except BaseException:
        client.close()
        raise


async def _socket(host: Host, timeout: float) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(host.address).version == 6 else socket.AF_INET
    try:
        opened = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:  # a machine without IPv6, or out of descriptors
        raise HopFailed(found("4.4.1", f"connect to {host}: {_errno(error)}")) from error
    opened.setblocking(False)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(opened, (host.address, host.port))
    except TimeoutError:
        opened.close()
        raise HopFailed(found("4.4.1", f"connect to {host}: no answer within {timeout:g} seconds")) from None
    except OSError as error:
        opened.close()
        raise HopFailed(found("4.4.1", f"connect to {host}: {_errno(error)}")) from error
    except BaseException:
        opened.close()
        raise
    return opened


async def _hello(client: aiosmtplib.SMTP, approach: Approach) -> None:
    if approach.lmtp:  # RFC 2033 §4.1: LHLO instead of EHLO; aiosmtplib reads the answer the same way
        response = await client.execute_command(b"LHLO", approach.hostname.encode("ascii"))
        if response.code != 250:
            raise aiosmtplib.SMTPHeloError(response.code, response.message)
        client.last_ehlo_response = response
        return
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code not in (500, 502, 504):  # RFC 5321 §3.2: HELO for a server that does not know EHLO
            raise
        await client.helo()


async def _secure(client: aiosmtplib.SMTP, host: Host, approach: Approach) -> None:
    if approach.level is TlsLevel.NONE or approach.context is None:
        return
    if not client.supports_extension("starttls"):
        if approach.level is TlsLevel.OPPORTUNISTIC:
            return
        raise HopFailed(found("4.7.4", f"{host} does not offer STARTTLS, and the route demands it"))
    try:
        await client.starttls(tls_context=approach.context, server_hostname=host.name)
    except aiosmtplib.SMTPResponseException:
        raise
    except (aiosmtplib.SMTPException, OSError) as error:
        # Never plaintext after a failed handshake: whoever can break the handshake could read the mail.
        raise HopFailed(found("4.7.5", f"TLS with {host} failed: {_tls_reason(error)}")) from error
    await _hello(client, approach)  # RFC 3207 §4.2: what was said before TLS counts no more


async def _log_in(client: aiosmtplib.SMTP, login: Login) -> None:
    if client.get_transport_info("sslcontext") is None:
        raise HopFailed(found("4.7.4", "the route has a login, which is said only over TLS"))
    if "plain" in client.server_auth_methods:
        await client.auth_plain(login.user, login.password)
    elif "login" in client.server_auth_methods:
        await client.auth_login(login.user, login.password)
    else:
        raise HopFailed(found("4.7.4", "the next hop offers neither AUTH PLAIN nor LOGIN"))


def _take_over(client: aiosmtplib.SMTP, host: Host, lmtp: bool) -> Connection:
    """Puts asyncio's streams on the open transport, because aiosmtplib holds one reply at a time and drops what comes early, so that it
    can't pipeline. No reply is outstanding now, and nothing is awaited here."""
    transport = cast(asyncio.Transport | None, client.transport)
    if transport is None or transport.is_closing():
        raise HopFailed(found("4.4.2", f"{host} closed the connection"))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_LIMIT, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    return Connection(host, Channel(reader, writer), dict(client.esmtp_extensions), _tls(transport), lmtp)


def _tls(transport: asyncio.Transport) -> Tls | None:
    session = transport.get_extra_info("ssl_object")
    if session is None:
        return None
    cipher = session.cipher()
    return Tls(session.version() or "unknown", cipher[0] if cipher else "unknown")


def _refused(host: Host, error: aiosmtplib.SMTPResponseException) -> Answer:
    """A refusal before MAIL (greeting, EHLO, STARTTLS, AUTH) speaks of us or of the server, not of the message: another host, or later.
    521 says that this host never takes mail (RFC 7504); that is for the next host, or for the expiry, to settle."""
    if not 200 <= error.code <= 599:
        return found("4.5.0", f"{host} does not speak SMTP")
    answer = replied(error.code, error.message.split("\n"))
    return Answer(answer.code, "4" + answer.status[1:], f"{answer.text} (from {host}, before MAIL)")


def _errno(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _tls_reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "reason", None) or str(error)
