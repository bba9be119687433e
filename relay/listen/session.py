"""One session: reads commands, asks the table whether they may come, has them done, and answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relay.listen import harmless, replies, states
from relay.listen.channel import CHUNK, MAX_LINE, BareLineFeed, Channel, Gone, LineTooLong, TimedOut, tls_of
from relay.listen.commands import Command, SyntaxProblem, parse_line
from relay.listen.introduction import Introduction
from relay.listen.limits import most_open
from relay.listen.mailing import Mailing
from relay.listen.overrides import in_networks, plain_address, read_proxy
from relay.listen.states import State
from relay.model.client import Peer
from relay.model.errors import Refusal
from relay.model.reply import Reply
from relay.model.text import printable
from relay.settings.models import Listener

if TYPE_CHECKING:
    from relay.listen.server import ListenerGroup

log = logging.getLogger("sluis.listen")

PROXY_SECONDS = 5.0


class Session(Channel):
    """The dialogue with one client."""

    def __init__(self, group: "ListenerGroup", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, group.scratch)
        self.group = group
        self.state = State.START
        self.mailing = Mailing(self)
        self.errors = 0
        self.idle = False
        self._commands_without_mail = 0
        self._counted = ""
        self._ends = 0.0
        self.peer = Peer(group.settings.name, group.settings.side, "0.0.0.0", 0, "0.0.0.0", 0)  # noqa: S104 - until the socket says
        introduction = Introduction(self)
        self._verbs: dict[str, Callable[[str], Awaitable[Reply | None]]] = {
            "EHLO": introduction.ehlo,
            "HELO": introduction.helo,
            "LHLO": introduction.ehlo,
            "STARTTLS": introduction.starttls,
            "AUTH": introduction.auth,
            "XCLIENT": introduction.xclient,
            "XFORWARD": introduction.xforward,
            "MAIL": self.mailing.mail,
            "RCPT": self.mailing.rcpt,
            "DATA": self.mailing.data,
            "RSET": self.mailing.rset,
            "NOOP": harmless.noop,
            "HELP": harmless.help_,
            "VRFY": harmless.vrfy,
            "EXPN": harmless.expn,
            "QUIT": self._quit,
        }

    @property
    def settings(self) -> Listener:
        """Limits are those of the listener as it is now: a reload reaches open sessions."""
        return self.group.settings

    def connection_made(self, transport: Any) -> None:
        """Begins the dialogue, if only to say 421."""
        if len(self.group.sessions) >= most_open(self.settings.connections):
            self.group.counts.shed["connections"] += 1
            transport.abort()
            return
        self.group.sessions.add(self)
        super().connection_made(transport)

    async def dialogue(self) -> None:
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
        self.mailing.forget()
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

    def patience(self, seconds: float) -> float:
        """How long to wait for the client now. Only waiting for it is bounded by the time of a session: a message that came in whole
        is brought to its end."""
        return max(0.0, min(seconds, self._ends - self.loop.time()))

    @property
    def reply_seconds(self) -> float:
        return min(super().reply_seconds, self.settings.command_timeout)

    async def read_line(self, limit: int, timeout: float) -> bytes:
        return await super().read_line(limit, self.patience(timeout))

    async def read_chunk(self, timeout: float, most: int = CHUNK) -> bytes:
        return await super().read_chunk(self.patience(timeout), most)

    async def skip(self, octets: int) -> None:
        """Reads so many, and throws them away."""
        while octets:
            octets -= len(await self.read_chunk(self.settings.data_timeout, octets))

    async def _connected(self) -> None:
        """Who is there: the socket, then TLS from the start, then PROXY from those who may say so."""
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
                    self.peer = await read_proxy(self.incoming, self.peer)
            except TimeoutError:
                raise Gone("no PROXY header") from None
        self._known_address = self.peer.address  # a proxy's word counts; what XCLIENT says later gives no right to say more
        if self.settings.implicit_tls:
            self.peer = replace(self.peer, tls=tls_of(self.transport))

    async def _command(self) -> None:
        """One command: read, check against the table, answer."""
        if self.group.stopping:
            await self.close_with(replies.STOPPING)
            return
        waiting = not self.pending()
        if waiting:
            self.ahead = False
        self.idle = True
        try:
            line = await self.read_line(MAX_LINE, self.settings.command_timeout)
        except LineTooLong:
            await self.error(replies.LINE_TOO_LONG)
            return
        finally:
            self.idle = False
        if waiting and not self.ahead:  # it has heard all our replies, and then said this; what was sent ahead of them shows nothing
            self.mailing.heard()
        self.group.counts.commands += 1
        try:
            command = parse_line(line)
        except SyntaxProblem:
            await self.error(replies.BAD_LINE)
            return
        await self._dispatch(command)

    async def _dispatch(self, command: Command) -> None:
        if command.verb == "BDAT":  # where it stands decides on its answer, not on whether its octets are read
            await self.mailing.bdat(command.argument)
            return
        refusal = self._out_of_place(command.verb)
        if refusal is not None:
            await self.error(refusal)
            return
        if command.verb in states.ENDS_GROUP and self.pending():
            # What was sent ahead of this reply is smuggled, injected or out of step: nothing of it is read.
            await self.close_with(replies.PIPELINING_ABUSE)
            return
        try:
            reply = await self._verbs[command.verb](command.argument)
        except Refusal as refused:
            await self.error(refused.reply)
            return
        if reply is not None:
            await self._answer(command.verb, reply)

    def _out_of_place(self, verb: str) -> Reply | None:
        lmtp = self.settings.protocol == "lmtp"
        if (verb == "LHLO") != lmtp and verb in ("EHLO", "HELO", "LHLO"):
            return replies.UNKNOWN_COMMAND  # RFC 2033 §4.1
        if verb in ("XCLIENT", "XFORWARD") and not self.may_override(verb):
            return replies.NOT_FROM_HERE
        return states.refusal(self.state, verb)

    def may_override(self, verb: str) -> bool:
        """Whether this client may use XCLIENT or XFORWARD."""
        return in_networks(self._known_address, self.settings.xclient_from if verb == "XCLIENT" else self.settings.xforward_from)

    async def _answer(self, verb: str, reply: Reply) -> None:
        if not reply.positive:
            await self.error(reply)
            return
        self.state = states.after(self.state, verb)
        await self.send(reply)
        if verb not in ("MAIL", "RCPT", "DATA"):
            await self.without_mail()

    async def without_mail(self) -> None:
        """A command that brought no mail on; too many, and the session ends."""
        self._commands_without_mail += 1
        if self._commands_without_mail > self.settings.commands_without_mail and self.state is not State.CLOSED:
            await self.close_with(replies.TOO_MANY_COMMANDS)

    def brought_mail(self) -> None:
        """A message came in, whatever became of it."""
        self._commands_without_mail = 0

    async def error(self, *refused: Reply) -> None:
        """A refusal, under LMTP several for one message; too many, and the session ends."""
        for reply in refused:
            if not reply.positive:
                self.group.counts.refusals[reply.code] += 1
            await self.send(reply)
        if any(reply.permanent for reply in refused):
            self.errors += 1
            if self.errors >= self.settings.errors:
                await self.close_with(replies.TOO_MANY_ERRORS)

    async def close_with(self, reply: Reply) -> None:
        """The last reply of this session."""
        self.state = State.CLOSED
        await self.send(reply)

    def stop(self) -> None:
        """Called when the relay stops: a session that waits for a command hears 421 (RFC 5321 §3.8), one at work finishes it first."""
        if self.idle and self.transport is not None and not self.transport.is_closing():
            self.transport.write(replies.STOPPING.wire())
            self.close()

    async def _quit(self, argument: str) -> Reply:
        if argument:
            return replies.NO_ARGUMENTS
        # Some send QUIT along with the final dot, and close as soon as they have their 250 (Postfix, smtp_skip_quit_response). Others
        # say it when they have waited too long, and will send again what they heard nothing of.
        if self.mailing.unheard and not self.ahead and await self.arrived():
            self.mailing.heard()
        return replies.BYE
