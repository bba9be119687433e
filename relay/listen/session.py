"""One session: reads commands, asks the table whether they may come, asks the road what becomes of them."""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.listen import replies, states
from relay.listen.authentication import authenticate
from relay.listen.channel import MAX_LINE, BareLineFeed, Channel, Gone, LineTooLong, TimedOut, tls_of
from relay.listen.commands import Command, SyntaxProblem, parse_hello, parse_line, parse_path
from relay.listen.content import receive
from relay.listen.overrides import apply_xclient, apply_xforward, plain_address, read_proxy
from relay.listen.parameters import recipient_of, sender_of
from relay.listen.states import State
from relay.model.client import Peer, Side
from relay.model.errors import Refusal
from relay.model.reply import Reply
from relay.model.text import printable
from relay.receive.transaction import Transaction
from relay.settings.models import Listener

if TYPE_CHECKING:
    from relay.listen.server import ListenerGroup

log = logging.getLogger("sluis.listen")

HANDSHAKE_SECONDS = 30.0
PROXY_SECONDS = 5.0


class Session(Channel):
    """The dialogue with one client."""

    def __init__(self, group: "ListenerGroup", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, group.hostname)
        self.group = group
        self.state = State.START
        self.transaction: Transaction | None = None
        self.errors = 0
        self.idle = False
        self._commands_without_mail = 0
        self._unheard: list[bytes] = []  # receipts that were sent; nobody knows yet that they were heard
        self._counted = ""
        self._ends = 0.0
        self.peer = Peer(group.settings.name, group.settings.side, "0.0.0.0", 0, "0.0.0.0", 0)  # noqa: S104 - until the socket says
        self._verbs: dict[str, Callable[[str], Awaitable[Reply | None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "LHLO": self._ehlo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "XCLIENT": self._xclient,
            "XFORWARD": self._xforward,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "HELP": self._help,
            "VRFY": self._vrfy,
            "EXPN": self._expn,
            "QUIT": self._quit,
        }

    @property
    def settings(self) -> Listener:
        """Limits are those of the listener as it is now: a reload reaches open sessions."""
        return self.group.settings

    async def _handle_client(self) -> None:
        """The top of a session: whatever goes wrong ends here, and takes no other session down."""
        try:
            await self._run()
        except Gone as gone:
            if gone.args:
                log.info("session ended", extra={"fields": {"address": self.peer.address, "reason": printable(str(gone.args[0]))}})
        except TimedOut:
            await self._last_words(replies.TIMEOUT)
        except BareLineFeed:
            await self._last_words(replies.BARE_LINE_FEED)
        except asyncio.CancelledError:
            pass
        except Exception:
            self.group.counts.bugs += 1
            log.exception("a session failed", extra={"fields": {"address": self.peer.address}})
            await self._last_words(replies.FAULT)
        finally:
            self._leave()
            self.close()

    async def _last_words(self, reply: Reply) -> None:
        try:
            await self.send(reply)
        except Gone:
            return

    def _leave(self) -> None:
        self.group.sessions.discard(self)
        if self._counted:
            self.group.limits.leave(self._counted)
            self._counted = ""

    async def _run(self) -> None:
        await self._connected()
        self._ends = self.loop.time() + self.settings.session_timeout
        if self.group.stopping:
            await self.send(replies.STOPPING)
            return
        self._counted = self.peer.address
        if not self.group.limits.admit(self._counted):
            await self.send(replies.TOO_MANY_CONNECTIONS)
            return
        await asyncio.sleep(0)  # the loop reads what the socket holds already
        if self.pending():
            await self.send(replies.EARLY_TALKER)
            return
        await self.send(Reply(220, None, None, f"{self.group.hostname} {'LMTP' if self.peer.lmtp else 'ESMTP'}"))
        while self.state is not State.CLOSED:
            await self._command()
            if self.pending():
                await asyncio.sleep(0)  # between two commands of a long pipeline the other sessions have their turn

    def _patience(self, seconds: float) -> float:
        """How long to wait for the client now. Only waiting for it is bounded by the time of a session: a message that came in whole
        is brought to its end."""
        return max(0.0, min(seconds, self._ends - self.loop.time()))

    @property
    def reply_seconds(self) -> float:
        return min(super().reply_seconds, self.settings.command_timeout)

    async def read_line(self, limit: int, timeout: float) -> bytes:
        return await super().read_line(limit, self._patience(timeout))

    async def read_chunk(self, timeout: float) -> bytes:
        return await super().read_chunk(self._patience(timeout))

    async def _connected(self) -> None:
        """Who is there: the socket, then TLS from the start, then PROXY from those who may say so."""
        self.group.sessions.add(self)
        self.group.counts.sessions += 1
        remote = self.transport.get_extra_info("peername")
        local = self.transport.get_extra_info("sockname")
        if remote is None or local is None:
            raise Gone  # it hung up before it was accepted
        self.peer = replace(
            self.peer,
            address=plain_address(remote[0]),
            port=remote[1],
            local_address=plain_address(local[0]),
            local_port=local[1],
            lmtp=self.settings.protocol == "lmtp",
        )
        if in_networks(self.peer.address, self.settings.proxy_from):
            try:
                async with asyncio.timeout(PROXY_SECONDS):
                    self.peer = await read_proxy(self._reader, self.peer)
            except TimeoutError:
                raise Gone("no PROXY header") from None
        self._known_address = self.peer.address  # a proxy's word counts; what XCLIENT says later gives no right to say more
        if self.settings.implicit_tls:
            self.peer = replace(self.peer, tls=tls_of(self.transport))

    async def _command(self) -> None:
        """One command: read, check against the table, answer."""
        if self.group.stopping:
            await self._close_with(replies.STOPPING)
            return
        waiting = not self.pending()
        self.idle = True
        try:
            line = await self.read_line(MAX_LINE, self.settings.command_timeout)
        except LineTooLong:
            await self._error(replies.LINE_TOO_LONG)
            return
        finally:
            self.idle = False
        if self._unheard and waiting:  # it had heard all our replies before it said this; what is sent ahead says nothing of the kind
            self.group.intake.heard(self._unheard)
            self._unheard = []
        self.group.counts.commands += 1
        try:
            command = parse_line(line)
        except SyntaxProblem:
            await self._error(replies.BAD_LINE)
            return
        await self._dispatch(command)

    async def _dispatch(self, command: Command) -> None:
        refusal = self._out_of_place(command.verb)
        if refusal is not None:
            await self._error(refusal)
            return
        if command.verb in states.ENDS_GROUP and self.pending():
            # What was sent ahead of this reply is smuggled, injected or out of step: nothing of it is read.
            await self._close_with(replies.PIPELINING_ABUSE)
            return
        try:
            reply = await self._verbs[command.verb](command.argument)
        except Refusal as refused:
            await self._error(refused.reply)
            return
        if reply is not None:
            await self._answer(command.verb, reply)

    def _out_of_place(self, verb: str) -> Reply | None:
        lmtp = self.settings.protocol == "lmtp"
        if (verb == "LHLO") != lmtp and verb in ("EHLO", "HELO", "LHLO"):
            return replies.UNKNOWN_COMMAND  # RFC 2033 §4.1
        if verb in ("XCLIENT", "XFORWARD"):
            networks = self.settings.xclient_from if verb == "XCLIENT" else self.settings.xforward_from
            if not in_networks(self._known_address, networks):
                return replies.NOT_FROM_HERE
        return states.refusal(self.state, verb)

    async def _answer(self, verb: str, reply: Reply) -> None:
        if not reply.positive:
            await self._error(reply)
            return
        self.state = states.after(self.state, verb)
        await self.send(reply)
        if verb not in ("MAIL", "RCPT", "DATA"):
            self._commands_without_mail += 1
            if self._commands_without_mail > self.settings.commands_without_mail and self.state is not State.CLOSED:
                await self._close_with(replies.TOO_MANY_COMMANDS)

    async def _error(self, *refused: Reply) -> None:
        """A refusal, under LMTP several for one message; too many, and the session ends."""
        for reply in refused:
            if not reply.positive:
                self.group.counts.refusals[reply.code] += 1
            await self.send(reply)
        if any(reply.permanent for reply in refused):
            self.errors += 1
            if self.errors >= self.settings.errors:
                await self._close_with(replies.TOO_MANY_ERRORS)

    async def _close_with(self, reply: Reply) -> None:
        self.state = State.CLOSED
        await self.send(reply)

    def stop(self) -> None:
        """Called when the relay stops: a session that waits for a command hears 421 (RFC 5321 §3.8), one at work finishes it first."""
        if self.idle and self.transport is not None and not self.transport.is_closing():
            self.transport.write(replies.STOPPING.wire())
            self.close()

    # The commands

    async def _ehlo(self, argument: str) -> Reply:
        self._greet(argument, esmtp=True)
        lines = [self.group.hostname, *self._extensions()]
        # EHLO answers carry no enhanced status code (RFC 2034 §4).
        return Reply(250, None, None, "\n".join(lines))

    async def _helo(self, argument: str) -> Reply:
        self._greet(argument, esmtp=False)
        return Reply(250, None, None, self.group.hostname)

    def _greet(self, argument: str, *, esmtp: bool) -> None:
        try:
            name = parse_hello(argument)
        except SyntaxProblem:
            raise Refusal(replies.BAD_HELLO) from None
        self.peer = replace(self.peer, helo=name, esmtp=esmtp)
        self.transaction = None

    def _extensions(self) -> list[str]:
        settings = self.settings
        lines = ["PIPELINING", f"SIZE {settings.message_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if settings.side is Side.INSIDE:
            lines.append("DSN")
        if self.group.tls and self.peer.tls is None:
            lines.append("STARTTLS")
        if settings.auth and self.peer.tls is not None and self.peer.login is None:
            lines.append("AUTH PLAIN LOGIN")
        if in_networks(self._known_address, settings.xclient_from):
            lines.append("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
        if in_networks(self._known_address, settings.xforward_from):
            lines.append("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
        return lines

    async def _starttls(self, argument: str) -> Reply | None:
        if argument:
            return replies.NO_ARGUMENTS
        if not self.group.tls:
            return replies.NOT_IMPLEMENTED
        if self.peer.tls is not None:
            return replies.TLS_ACTIVE
        await self.send(replies.READY_FOR_TLS)
        patience = self._patience(min(HANDSHAKE_SECONDS, self.settings.command_timeout))
        tls = await self.start_tls(self.group.tls.context, max(patience, 0.1))
        # RFC 3207 §4.2: everything said before is forgotten.
        self.peer = replace(self.peer, tls=tls, helo="", esmtp=False, login=None, forwarded={})
        self.transaction = None
        self.state = State.START
        return None

    async def _auth(self, argument: str) -> Reply:
        if not self.settings.auth or self.peer.login is not None:
            return replies.AUTH_UNAVAILABLE
        if self.peer.tls is None:
            return replies.AUTH_NEEDS_TLS
        login = await authenticate(self, argument, self.group.intake)
        self.peer = replace(self.peer, login=login)
        return replies.AUTHENTICATED

    async def _xclient(self, argument: str) -> Reply | None:
        self.peer = apply_xclient(self.peer, argument)
        self.transaction = None
        self.state = State.START
        # The session begins anew, with a greeting (Postfix XCLIENT_README).
        await self.send(Reply(220, None, None, f"{self.group.hostname} ESMTP"))
        return None

    async def _xforward(self, argument: str) -> Reply:
        self.peer = apply_xforward(self.peer, argument)
        return replies.FORWARDED_OK

    async def _mail(self, argument: str) -> Reply:
        if self.settings.require_tls and self.peer.tls is None:
            return replies.TLS_REQUIRED
        try:
            path, parameters = parse_path(argument, "FROM")
        except SyntaxProblem:
            return replies.BAD_SENDER
        if path is not None and not path.domain:
            return replies.BAD_SENDER
        dsn = self.settings.side is Side.INSIDE
        auth = self.settings.auth and self.peer.tls is not None
        sender = sender_of(path, parameters, size_limit=self.settings.message_size, dsn=dsn, auth=auth, esmtp=self.peer.esmtp)
        self.transaction = await self.group.intake.mail(self.peer, sender)
        return replies.SENDER_OK

    async def _rcpt(self, argument: str) -> Reply:
        assert self.transaction is not None
        try:
            path, parameters = parse_path(argument, "TO")
        except SyntaxProblem:
            return replies.BAD_RECIPIENT
        if path is None:
            return replies.BAD_RECIPIENT
        if len(self.transaction.recipients) >= self.settings.recipients:
            return replies.TOO_MANY_RECIPIENTS
        dsn = self.settings.side is Side.INSIDE
        recipient = recipient_of(path, parameters, dsn=dsn, esmtp=self.peer.esmtp, smtputf8=self.transaction.sender.smtputf8)
        await self.group.intake.rcpt(self.transaction, recipient)
        return replies.RECIPIENT_OK

    async def _data(self, argument: str) -> Reply | None:
        if argument:
            return replies.NO_ARGUMENTS
        transaction, self.transaction = self.transaction, None
        assert transaction is not None
        self.state = State.GREETED
        self._commands_without_mail = 0
        try:
            writer = self.group.intake.open_body(transaction)
        except OSError as error:
            log.error("the spool refused a message", extra={"fields": {"error": str(error)}})
            return replies.DISK
        answers = await receive(self, transaction, writer)
        await self._error(*answers)
        if transaction.receipt and any(answer.positive for answer in answers):
            self._unheard.append(transaction.receipt)
        return None

    async def _rset(self, argument: str) -> Reply:
        if argument:
            return replies.NO_ARGUMENTS
        self.transaction = None
        return replies.OK

    async def _noop(self, _argument: str) -> Reply:
        return replies.OK

    async def _help(self, _argument: str) -> Reply:
        return replies.HELP

    async def _vrfy(self, argument: str) -> Reply:
        return replies.VERIFY if argument else replies.BAD_RECIPIENT

    async def _expn(self, _argument: str) -> Reply:
        return replies.NOT_IMPLEMENTED

    async def _quit(self, argument: str) -> Reply:
        return replies.NO_ARGUMENTS if argument else replies.BYE


def in_networks(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in one of the networks of the settings."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in ipaddress.ip_network(network) for network in networks)
