"""DATA: from 354 to the final dot into the spool, then the road, shielded from a client that goes away."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.listen import replies
from relay.listen.data import DataDecoder
from relay.model.errors import Refusal
from relay.model.message import Body
from relay.model.ports import BodyWriter
from relay.model.reply import Reply
from relay.policy.models import LineEnds
from relay.receive.transaction import Transaction

if TYPE_CHECKING:
    from relay.listen.session import Session

KEPT_WHOLE = 10
"""A client that has said 250 already is kept waiting rather than cut off: up to so many times the size limit."""
log = logging.getLogger("sluis.listen")


async def receive(session: "Session", transaction: Transaction, writer: BodyWriter) -> tuple[Reply, ...]:
    """One reply, or under LMTP one for each recipient. Raises what ends a session; what was written is gone then."""
    client = transaction.client
    # What can't be refused any more is kept for a person: whole, and with line ends that can leave in one way only.
    normalise = client.line_ends is LineEnds.NORMALISE or client.already_accepted
    decoder = DataDecoder(normalise=normalise)
    try:
        await session.send(replies.GO_AHEAD)
        most = session.settings.message_size * (KEPT_WHOLE if client.already_accepted else 1)
        size = await _into(session, writer, decoder, most)
        if size is None or (client.already_accepted and size > most):
            writer.discard()
            return _each(session, transaction, replies.DISK)
        try:
            body = writer.finish(normalised=normalise and decoder.bad_line_ends)
        except OSError:
            writer.discard()
            return _each(session, transaction, replies.DISK)
    except BaseException:
        writer.discard()
        raise
    refusal = None
    if size > session.settings.message_size:
        refusal, body = replies.TOO_LARGE, replace(body, size=size)
    elif decoder.bad_line_ends and client.line_ends is LineEnds.REFUSE:
        refusal = replies.BAD_LINE_ENDS
    return await session.group.shielded(_conclude(session, transaction, body, refusal))


async def _into(session: "Session", writer: BodyWriter, decoder: DataDecoder, most: int) -> int | None:
    """Reads to the final dot, and writes what is within `most` octets. Gives the size, None where the disk refused."""
    size, disk_refused = 0, False
    while not decoder.finished:
        piece = decoder.feed(await session.read_chunk(session.settings.data_timeout))
        size += len(piece)
        if size <= most and not disk_refused:
            disk_refused = not _written(writer.write, piece)
    session.put_back(decoder.rest)
    return None if disk_refused else size


def _written(write: Callable[[bytes], None], piece: bytes) -> bool:
    try:
        write(piece)
    except OSError as error:
        log.error("the spool refused a write", extra={"fields": {"error": str(error)}})
        return False
    return True


async def _conclude(session: "Session", transaction: Transaction, body: Body, refusal: Reply | None) -> tuple[Reply, ...]:
    """Runs to its end whatever the client does; a bug here is a 451, and the client keeps the message."""
    group = session.group
    group.counts.messages += 1
    try:
        if refusal is not None:
            return await group.intake.refuse_body(transaction, body, refusal, refusal.text)
        return await group.intake.accept(transaction, body)
    except Refusal as refused:
        return _each(session, transaction, refused.reply)
    except Exception:
        group.counts.bugs += 1
        log.exception("a message failed on the road", extra={"fields": {"message": transaction.id.hex}})
        return _each(session, transaction, replies.FAULT)


def _each(session: "Session", transaction: Transaction, reply: Reply) -> tuple[Reply, ...]:
    """RFC 2033 §4.2: under LMTP one reply for each recipient."""
    return (reply,) * (len(transaction.recipients) if session.peer.lmtp else 1)
