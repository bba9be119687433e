"""The commands with which a client says who it is: EHLO, HELO, LHLO, STARTTLS, AUTH, XCLIENT, XFORWARD."""

from dataclasses import replace
from typing import TYPE_CHECKING

from relay.listen import replies
from relay.listen.authentication import authenticate
from relay.listen.commands import SyntaxProblem, parse_hello
from relay.listen.overrides import apply_xclient, apply_xforward
from relay.listen.states import State
from relay.model.client import Side
from relay.model.errors import Refusal
from relay.model.reply import Reply

if TYPE_CHECKING:
    from relay.listen.session import Session

HANDSHAKE_SECONDS = 30.0


class Introduction:
    """Each changes `session.peer`, and whatever changes who it is ends the transaction."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    async def ehlo(self, argument: str) -> Reply:
        self._greet(argument, esmtp=True)
        lines = [self._session.group.hostname, *self._extensions()]
        # EHLO answers carry no enhanced status code (RFC 2034 §4).
        return Reply(250, None, None, "\n".join(lines))

    async def helo(self, argument: str) -> Reply:
        self._greet(argument, esmtp=False)
        return Reply(250, None, None, self._session.group.hostname)

    def _greet(self, argument: str, *, esmtp: bool) -> None:
        session = self._session
        try:
            name = parse_hello(argument)
        except SyntaxProblem:
            raise Refusal(replies.BAD_HELLO) from None
        session.peer = replace(session.peer, helo=name, esmtp=esmtp)
        session.mailing.forget()

    def _extensions(self) -> list[str]:
        session, settings = self._session, self._session.settings
        # BINARYMIME (RFC 3030 §3) is not offered: such a body could leave in no other way, and never by DATA.
        lines = ["PIPELINING", f"SIZE {settings.message_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"]
        if settings.side is Side.INSIDE:
            lines.append("DSN")
        if session.group.tls and session.peer.tls is None:
            lines.append("STARTTLS")
        if settings.auth and session.peer.tls is not None and session.peer.login is None:
            lines.append("AUTH PLAIN LOGIN")
        if session.may_override("XCLIENT"):
            lines.append("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
        if session.may_override("XFORWARD"):
            lines.append("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
        return lines

    async def starttls(self, argument: str) -> Reply | None:
        session = self._session
        if argument:
            return replies.NO_ARGUMENTS
        if not session.group.tls:
            return replies.NOT_IMPLEMENTED
        if session.peer.tls is not None:
            return replies.TLS_ACTIVE
        await session.send(replies.READY_FOR_TLS)
        patience = session.patience(min(HANDSHAKE_SECONDS, session.settings.command_timeout))
        tls = await session.start_tls(session.group.tls.context, max(patience, 0.1))
        # RFC 3207 §4.2: everything said before is forgotten.
        session.peer = replace(session.peer, tls=tls, helo="", esmtp=False, login=None, forwarded={})
        session.mailing.forget()
        session.state = State.START
        return None

    async def auth(self, argument: str) -> Reply:
        session = self._session
        if not session.settings.auth or session.peer.login is not None:
            return replies.AUTH_UNAVAILABLE
        if session.peer.tls is None:
            return replies.AUTH_NEEDS_TLS
        login = await authenticate(session, argument, session.group.intake)
        session.peer = replace(session.peer, login=login)
        return replies.AUTHENTICATED

    async def xclient(self, argument: str) -> Reply | None:
        session = self._session
        session.peer = apply_xclient(session.peer, argument)
        session.mailing.forget()
        session.state = State.START
        # The session begins anew, with a greeting (Postfix XCLIENT_README).
        await session.send(Reply(220, None, None, f"{session.group.hostname} ESMTP"))
        return None

    async def xforward(self, argument: str) -> Reply:
        self._session.peer = apply_xforward(self._session.peer, argument)
        return replies.FORWARDED_OK
