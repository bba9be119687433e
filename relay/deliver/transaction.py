"""One mail transaction over an open connection: MAIL, RCPT, DATA, and the mark before the final dot."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from relay.deliver.answer import Answer, Lost, found
from relay.deliver.channel import command_line
from relay.deliver.connection import Connection
from relay.deliver.outgoing import octets, outgoing
from relay.deliver.parameters import lacking, mail_line, rcpt_line, too_large
from relay.model.errors import SluisError, SpoolError, SpoolUnavailable, Withdrawn
from relay.model.message import Signed, Ticket
from relay.model.ports import BodyReader
from relay.settings.models import Delivery

DATA_INITIATION = 120.0  # RFC 5321 §4.5.3.2.4
DATA_BLOCK = 180.0  # RFC 5321 §4.5.3.2.5
PIPELINED = 50  # recipients in one batch: their replies fit the buffers of both sides (RFC 2920 §3.1)
DATA = b"DATA\r\n"
LARGE = 256 * 1024  # above this the spool is read in a thread, so that a slow disk stops nobody else

Mark = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; `command` for MAIL and RCPT (§4.5.3.2.2, .3), `final` for the reply to the final dot (§4.5.3.2.6)."""

    command: float
    final: float

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls(delivery.command_timeout, delivery.data_timeout)

    def at_most(self, seconds: float) -> float:
        """A wait that has its own figure in the RFC, but never longer than an admin allows for a command."""
        return min(self.command, seconds)


class Transaction:
    """Sends one message to some of its recipients. Raises Lost only while nothing can have been accepted: before the final dot."""

    def __init__(self, connection: Connection, signed: Signed, tickets: list[Ticket], timeouts: Timeouts) -> None:
        self._connection = connection
        self._channel = connection.channel
        self._signed = signed
        self._message = signed.claimed.message
        self._tickets = tickets
        self._timeouts = timeouts
        self._answers: dict[int, Answer] = {}
        self._data_sent = False

    async def run(self, body: Callable[[], BodyReader], before_final_dot: Mark) -> dict[int, Answer]:
        """The answer for each ticket, by ordinal. `before_final_dot` makes the durable mark; if it raises, the connection is dropped and
        nothing was sent."""
        await self._connection.reset(self._timeouts.command)
        self._connection.transactions += 1
        wanted = self._possible()
        self._connection.unfinished = bool(wanted)
        accepted = await self._envelope(wanted) if wanted else []
        if (accepted or self._data_sent) and await self._data_wanted(accepted):
            await self._content(accepted, body, before_final_dot)
        return self._answers

    def _possible(self) -> list[Ticket]:
        """Those for whom the next hop can do what the message needs; the others fail, and are never converted for."""
        size = too_large(octets(self._signed), self._connection)
        for ticket in self._tickets:
            problem = lacking(self._message, ticket.recipient, self._connection) or size
            if problem:
                self._answers[ticket.ordinal] = problem
        return [ticket for ticket in self._tickets if ticket.ordinal not in self._answers]

    async def _envelope(self, tickets: list[Ticket]) -> list[Ticket]:
        mail = command_line(mail_line(self._message, [t.recipient for t in tickets], octets(self._signed), self._connection))
        rcpts = [command_line(rcpt_line(ticket.recipient, self._connection)) for ticket in tickets]
        if not self._connection.offers("pipelining"):
            await self._channel.send(mail, self._timeouts.command)
            answer = await self._connection.first_reply(self._timeouts.command)
            if answer.positive:
                for ticket, line in zip(tickets, rcpts, strict=True):
                    self._answers[ticket.ordinal] = await self._ask(line)
        else:
            answer = await self._pipelined(mail, tickets, rcpts)
        if not answer.positive:
            self._all(tickets, answer)
        return [ticket for ticket in tickets if self._answers[ticket.ordinal].positive]

    async def _pipelined(self, mail: bytes, tickets: list[Ticket], rcpts: list[bytes]) -> Answer:
        """MAIL and RCPT in batches, and DATA behind them where one batch holds them all (RFC 2920 §3.1)."""
        answer = None
        self._data_sent = len(tickets) <= PIPELINED
        for start in range(0, len(tickets), PIPELINED):
            batch = b"".join(rcpts[start : start + PIPELINED])
            if answer is None:
                await self._channel.send(mail + batch + (DATA if self._data_sent else b""), self._timeouts.command)
                answer = await self._connection.first_reply(self._timeouts.command)
            else:
                await self._channel.send(batch, self._timeouts.command)
            for ticket in tickets[start : start + PIPELINED]:
                self._answers[ticket.ordinal] = await self._channel.reply(self._timeouts.command)
            if not answer.positive:
                break
        return answer or found("4.5.0", "no recipients")

    async def _data_wanted(self, accepted: list[Ticket]) -> bool:
        if not self._data_sent:
            await self._channel.send(DATA, self._timeouts.command)
        try:
            answer = await self._channel.reply(self._timeouts.at_most(DATA_INITIATION))
        except Lost:
            if accepted:
                raise
            self._channel.abort()  # it has said all that there is to say to each recipient
            return False
        if answer.code == 354:
            if accepted:
                return True
            self._channel.abort()  # a server that wants a message for nobody: it would get an empty one
            return False
        if answer.positive or not answer.code >= 400:
            raise Lost(f"an answer to DATA that is none: {answer.code}")
        self._all(accepted, answer)
        return False

    async def _content(self, accepted: list[Ticket], body: Callable[[], BodyReader], before_final_dot: Mark) -> None:
        """A small message leaves in one piece with its final dot, after the mark; a large one streams, and only its dot waits."""
        try:
            last = await self._streamed(body)
            await before_final_dot()
        except Withdrawn as reason:
            self._channel.abort()
            self._all(accepted, Answer(0, "4.3.2", f"withdrawn before the final dot: {reason}", withdrawn=True))
        except SluisError as error:  # the spool or the store: ours, and no reason to bounce
            self._channel.abort()
            self._all(accepted, _local(error))
        except BaseException:
            self._channel.abort()
            raise
        else:
            await self._final_dot(accepted, last)

    async def _streamed(self, body: Callable[[], BodyReader]) -> bytes:
        """Gives what is not sent yet: all of a small message, nothing of a large one."""
        reader = body()
        try:
            pieces = outgoing(self._signed, reader)
            if reader.size <= LARGE:
                return b"".join(pieces)
            while (piece := await asyncio.to_thread(_next, pieces)) is not None:
                await self._channel.send(piece, self._timeouts.at_most(DATA_BLOCK))
            return b""
        finally:
            reader.close()

    async def _final_dot(self, accepted: list[Ticket], last: bytes) -> None:
        """From here on nobody knows what happened until the reply is here (RFC 5321 §4.1.1.4, §6.1)."""
        open_tickets = list(accepted)
        try:
            await self._channel.send(last + b".\r\n", self._timeouts.at_most(DATA_BLOCK))
            if self._connection.lmtp:  # RFC 2033 §4.2: one reply for each accepted recipient, in order
                for ticket in accepted:
                    self._answers[ticket.ordinal] = _final(await self._channel.reply(self._timeouts.final))
                    open_tickets.remove(ticket)
            else:
                self._all(accepted, _final(await self._channel.reply(self._timeouts.final)))
            self._connection.unfinished = False  # RFC 5321 §4.1.1.4: whatever the reply, the transaction is over
        except Lost as error:
            text = f"{error}, after the final dot: the next hop may have the message"
            self._all(open_tickets, Answer(0, "4.4.2", text, unknown=True))
            self._channel.abort()

    async def _ask(self, line: bytes) -> Answer:
        await self._channel.send(line, self._timeouts.command)
        return await self._channel.reply(self._timeouts.command)

    def _all(self, tickets: list[Ticket], answer: Answer) -> None:
        for ticket in tickets:
            self._answers[ticket.ordinal] = answer


def _local(error: SluisError) -> Answer:
    """What is altered stays so, and is for a person; all else may pass."""
    if isinstance(error, SpoolError) and not isinstance(error, SpoolUnavailable):
        return replace(found("5.3.0", f"the stored body can't be used: {error}"), unreadable=True)
    return found("4.3.0", f"local problem before the final dot: {error}")


def _final(answer: Answer) -> Answer:
    """A 3xx is no answer to the final dot."""
    if answer.code < 300 or answer.code >= 400:
        return answer
    raise Lost(f"an answer to the final dot that is none: {answer.code}")


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
