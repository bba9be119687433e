"""Delivers one claim over its route: one transaction for each destination, and an outcome for every ticket."""

import asyncio
import hashlib
import logging
from collections.abc import Callable

from relay.deliver.answer import Answer, HopFailed, found
from relay.deliver.connection import Connection
from relay.deliver.custody import after_failure
from relay.deliver.probe import ask, reply_of
from relay.deliver.reach import Reach
from relay.deliver.transaction import Mark, Timeouts, Transaction
from relay.model.address import domain_key
from relay.model.delivery import State
from relay.model.envelope import Recipient
from relay.model.message import Outcome, Signed, Ticket
from relay.model.ports import BodyReader, Resolver
from relay.model.reply import Reply
from relay.model.text import printable
from relay.policy.models import Route, TlsLevel
from relay.settings.models import Settings

log = logging.getLogger("sluis.deliver")

PROBE = 60.0  # seconds: a client waits at RCPT meanwhile (RFC 5321 §4.5.3.2.3 gives it five minutes)


class Deliverer:
    """The way out. Use from one event loop; `close` at the end."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        self._timeouts = Timeouts.of(settings.delivery)
        self._reach = Reach(settings, resolver)

    async def deliver(self, signed: Signed, route: Route, body: Callable[[], BodyReader], before_final_dot: Mark) -> list[Outcome]:
        """One transaction for each destination of the claimed recipients (a smart host is one destination). An outcome for every ticket,
        by ordinal; failures are outcomes, never exceptions.

        `body` opens the spool object and may be called several times. `before_final_dot` is awaited right before each final dot: it makes
        the attempt's durable mark, and raises Withdrawn if the message may not leave any more."""
        if signed.claimed.effects.require_tls:  # the strictest of route and rules
            route = route.model_copy(update={"tls": TlsLevel.VERIFIED})
        groups: dict[str, list[Ticket]] = {}
        for ticket in signed.claimed.tickets:
            groups.setdefault(_destination(route, ticket.recipient), []).append(ticket)
        going = [self._group(signed, route, domain, tickets, body, before_final_dot) for domain, tickets in groups.items()]
        if len(going) == 1:  # most mail: no task of its own
            return await going[0]
        done = await asyncio.gather(
            *going,
            return_exceptions=True,  # a bug in one group leaves the others their end; it is raised after that
        )
        outcomes: list[Outcome] = []
        for result in done:
            if isinstance(result, BaseException):
                raise result
            outcomes += result
        return sorted(outcomes, key=lambda outcome: outcome.ordinal)

    async def probe(self, route: Route, recipient: Recipient) -> Reply:
        """What the next hop says to RCPT TO for this recipient; nothing is sent. A fault of any kind is a 4xx."""

        async def transact(connection: Connection) -> Answer:
            return await ask(connection, recipient, self._timeouts.command)

        try:
            async with asyncio.timeout(PROBE):
                answer, _ = await self._reach.at_first_host(route, _destination(route, recipient), transact)
        except HopFailed as failure:
            answer = failure.answer
        except TimeoutError:
            answer = found("4.4.1", "the next hop was too slow")
        return reply_of(answer)

    def end_rests(self) -> None:
        """Destinations that are left alone for a while are tried again at once."""
        self._reach.end_rests()

    async def close(self) -> None:
        """Ends the idle connections."""
        await self._reach.close()

    async def _group(
        self, signed: Signed, route: Route, domain: str, tickets: list[Ticket], body: Callable[[], BodyReader], before_final_dot: Mark
    ) -> list[Outcome]:
        async def transact(connection: Connection) -> dict[int, Answer]:
            return await Transaction(connection, signed, tickets, self._timeouts).run(body, before_final_dot)

        connection: Connection | None = None
        try:
            answers, connection = await self._reach.at_first_host(route, domain, transact)
        except HopFailed as failure:
            answers = dict.fromkeys((ticket.ordinal for ticket in tickets), failure.answer)
        outcomes = [_outcome(signed, ticket, answers[ticket.ordinal], connection) for ticket in tickets]
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            _log(signed, route, ticket, outcome)
        return outcomes


def _destination(route: Route, recipient: Recipient) -> str:
    """Recipients of one destination share a transaction: all of a smart host, those of a domain otherwise."""
    return "" if route.smart_host is not None else domain_key(recipient.mailbox.domain)


def _outcome(signed: Signed, ticket: Ticket, answer: Answer, connection: Connection | None) -> Outcome:
    if answer.positive:
        state = State.DELIVERED
    elif answer.unreadable:  # never delivered, never dropped: a person must look
        state = State.UNDELIVERABLE
    else:
        state = after_failure(signed.claimed.message, ticket.recipient) if answer.permanent else State.READY
    return Outcome(
        ordinal=ticket.ordinal,
        state=state,
        reply=str(answer),
        status=answer.status,
        next_hop=str(connection.host) if connection else "",
        tls=str(connection.tls) if connection and connection.tls else "",
        dsn_passed=answer.positive and connection is not None and connection.offers("dsn"),
        prefix_sha256=hashlib.sha256(signed.prefix).hexdigest() if answer.positive or answer.unknown else "",
        attempted=not answer.withdrawn,
        rest=answer.rest,
        unknown=answer.unknown,
    )


def _log(signed: Signed, route: Route, ticket: Ticket, outcome: Outcome) -> None:
    fields = {
        "message": signed.claimed.message.id.hex,
        "received_us": signed.claimed.message.received_us,
        "to": printable(str(ticket.recipient), 320),
        "from": printable(str(signed.claimed.message.sender), 320),
        "route": route.name,
        "relay": outcome.next_hop or "none",
        "dsn": outcome.status,
        "state": outcome.state.value,
        "tls": outcome.tls,
        "reply": outcome.reply,
        "possible_duplicate": ticket.interrupted or outcome.unknown,
    }
    log.info("delivery", extra={"fields": fields})
