"""The commands of a mail transaction: MAIL, RCPT, DATA, BDAT and RSET."""

import logging
from typing import TYPE_CHECKING

from relay.listen import replies, states
from relay.listen.commands import SyntaxProblem, parse_chunk, parse_path
from relay.listen.content import Content
from relay.listen.parameters import recipient_of, sender_of
from relay.listen.states import State
from relay.model.client import Side
from relay.model.reply import Reply
from relay.receive.transaction import Transaction

if TYPE_CHECKING:
    from relay.listen.session import Session

log = logging.getLogger("sluis.listen")


class Mailing:
    """The transaction of a session, one after another. `unheard` are the receipts that were sent, and that nobody knows to be heard."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._transaction: Transaction | None = None
        self._content: Content | None = None  # of a message that comes in chunks
        self.unheard: list[bytes] = []

    def forget(self) -> None:
        """The transaction, with the chunks that have come in."""
        if self._content is not None:
            self._content.discard()
        self._transaction = self._content = None

    def heard(self) -> None:
        """The client has heard what was said until now."""
        if self.unheard:
            self._session.group.intake.heard(self.unheard)
            self.unheard = []
            self._session.receipt_over()

    async def mail(self, argument: str) -> Reply:
        session = self._session
        if session.settings.require_tls and session.peer.tls is None:
            return replies.TLS_REQUIRED
        try:
            path, parameters = parse_path(argument, "FROM")
        except SyntaxProblem:
            return replies.BAD_SENDER
        if path is not None and not path.domain:
            return replies.BAD_SENDER
        dsn = session.settings.side is Side.INSIDE
        auth = session.settings.auth and session.peer.tls is not None
        sender = sender_of(path, parameters, size_limit=session.settings.message_size, dsn=dsn, auth=auth, esmtp=session.peer.esmtp)
        self._transaction = await session.group.intake.mail(session.peer, sender)
        return replies.SENDER_OK

    async def rcpt(self, argument: str) -> Reply:
        session, transaction = self._session, self._transaction
        assert transaction is not None
        try:
            path, parameters = parse_path(argument, "TO")
        except SyntaxProblem:
            return replies.BAD_RECIPIENT
        if path is None:
            return replies.BAD_RECIPIENT
        if len(transaction.recipients) >= session.settings.recipients:
            return replies.TOO_MANY_RECIPIENTS
        dsn = session.settings.side is Side.INSIDE
        recipient = recipient_of(path, parameters, dsn=dsn, esmtp=session.peer.esmtp, smtputf8=transaction.sender.smtputf8)
        await session.group.intake.rcpt(transaction, recipient)
        return replies.RECIPIENT_OK

    async def data(self, argument: str) -> Reply | None:
        if argument:
            return replies.NO_ARGUMENTS
        content = self._open()
        transaction, self._transaction = self._transaction, None
        assert transaction is not None
        self._session.state = State.GREETED
        if content is None:
            return replies.DISK
        await self._told(transaction, await content.data())
        return None

    async def bdat(self, argument: str) -> None:
        """One chunk. Its octets follow the command, and are read also where it is refused (RFC 3030 §2): they are no commands."""
        session = self._session
        try:
            size, last = parse_chunk(argument)
        except SyntaxProblem:
            await session.close_with(replies.BAD_CHUNK)  # nobody knows where the next command begins
            return
        verb = "BDAT LAST" if last else "BDAT"
        refusal = states.refusal(session.state, verb)
        if refusal is not None:
            # No error of its own: behind a chunk that was refused there may be many that were sent ahead (RFC 3030 §2).
            await session.skip(size)
            await session.send(refusal)
            await session.without_mail()
            return
        await self._chunk(verb, size)

    async def _chunk(self, verb: str, size: int) -> None:
        session, transaction = self._session, self._transaction
        assert transaction is not None
        self._content = self._content or self._open()
        if self._content is None:
            await session.skip(size)
            await self._failed(replies.DISK)
            return
        await self._content.chunk(size)
        if verb == "BDAT LAST" or self._content.refused:
            content, self._content, self._transaction = self._content, None, None
            session.state = State.GREETED
            answers = await content.finish()
            # RFC 2033 §4.2: a reply for each recipient is due after the last chunk, not after one in the middle.
            await self._told(transaction, answers if verb == "BDAT LAST" else answers[:1])
            return
        session.state = states.after(session.state, verb)
        await session.send(replies.CHUNK_OK)
        if not size:
            await session.without_mail()

    async def _failed(self, reply: Reply) -> None:
        self.forget()
        self._session.state = State.GREETED
        await self._session.error(reply)

    def _open(self) -> Content | None:
        """None where the disk refuses."""
        assert self._transaction is not None
        try:
            return Content(self._session, self._transaction, self._session.group.intake.open_body(self._transaction))
        except OSError as error:
            log.error("the spool refused a message", extra={"fields": {"error": str(error)}})
            return None

    async def _told(self, transaction: Transaction, answers: tuple[Reply, ...]) -> None:
        session = self._session
        session.brought_mail()
        await session.error(*answers)
        if transaction.receipt and any(answer.positive for answer in answers):
            self.unheard.append(transaction.receipt)
            session.receipt_said()
        elif not self.unheard:
            session.receipt_over()

    async def rset(self, argument: str) -> Reply:
        if argument:
            return replies.NO_ARGUMENTS
        self.forget()
        return replies.OK
