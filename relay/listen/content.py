"""The bytes of a message on their way into the spool, then the road, shielded from a client that goes away."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.listen import replies
from relay.listen.data import ChunkDecoder, DataDecoder
from relay.listen.hearing import Hearing
from relay.model.errors import ClientLeft, Refusal, StoreError
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


class Content:
    """What of a message has come in. Only what is within the limit is written; the rest is counted."""

    def __init__(self, session: "Session", transaction: Transaction, writer: BodyWriter) -> None:
        self._session = session
        self._transaction = transaction
        self._writer = writer
        client = transaction.client
        # What can't be refused any more is kept for a person: whole, and with line ends that can leave in one way only.
        self._normalise = client.line_ends is LineEnds.NORMALISE or client.already_accepted
        self._most = session.settings.message_size * (KEPT_WHOLE if client.already_accepted else 1)
        self._size = 0
        self._disk_refused = False
        self._chunks = ChunkDecoder(self._normalise)

    @property
    def refused(self) -> bool:
        """Nothing that may still come can change that it is refused."""
        return self._disk_refused or self._size > self._most

    async def data(self) -> tuple[Reply, ...]:
        """From 354 to the final dot, and the road. One reply, or under LMTP one for each recipient. Raises what ends a session; what was
        written is gone then."""
        decoder = DataDecoder(self._normalise)
        try:
            await self._session.send(replies.GO_AHEAD)
            while not decoder.finished:
                self._write(decoder.feed(await self._session.read_chunk(self._session.settings.data_timeout)))
            self._session.put_back(decoder.rest)
        except BaseException:
            self.discard()
            raise
        return await self._conclude(decoder.bad_line_ends)

    async def chunk(self, size: int) -> None:
        """The octets of one BDAT, all of them, whatever becomes of them (RFC 3030 §2). Raises what ends a session."""
        while size:
            piece = await self._session.read_chunk(self._session.settings.data_timeout, size)
            size -= len(piece)
            self._write(self._chunks.feed(piece))

    async def finish(self) -> tuple[Reply, ...]:
        """After the last chunk, or one that is refused: the road. Replies as after DATA."""
        self._write(self._chunks.finish())
        return await self._conclude(self._chunks.bad_line_ends)

    def discard(self) -> None:
        """Removes what was written."""
        self._writer.discard()

    def _write(self, piece: bytes) -> None:
        self._size += len(piece)
        if not self.refused:
            self._disk_refused = not _written(self._writer.write, piece)

    async def _conclude(self, bad_line_ends: bool) -> tuple[Reply, ...]:
        transaction, limit = self._transaction, self._session.settings.message_size
        self._session.came_whole()
        transaction.hearing = Hearing(self._session)
        body = self._finished(bad_line_ends)
        if body is None:
            self.discard()
            return _each(self._session, transaction, replies.DISK)
        refusal = None
        if self._size > limit:
            refusal, body = replies.TOO_LARGE, replace(body, size=self._size)
        elif bad_line_ends and transaction.client.line_ends is LineEnds.REFUSE:
            refusal = replies.BAD_LINE_ENDS
        return await self._session.group.shielded(_take(self._session, transaction, body, refusal))

    def _finished(self, bad_line_ends: bool) -> Body | None:
        """None where the disk refused, or where it is too much even for a client that can't be refused."""
        if self._disk_refused or (self._transaction.client.already_accepted and self._size > self._most):
            return None
        try:
            return self._writer.finish(normalised=self._normalise and bad_line_ends)
        except OSError as error:
            _log_refused(error)
            return None


def _written(write: Callable[[bytes], None], piece: bytes) -> bool:
    try:
        write(piece)
    except OSError as error:
        _log_refused(error)
        return False
    return True


def _log_refused(error: OSError) -> None:
    """The client hears 452; which fault of the disk it was is for us."""
    log.error("the spool refused a write", extra={"fields": {"error": str(error)}})


async def _take(session: "Session", transaction: Transaction, body: Body, refusal: Reply | None) -> tuple[Reply, ...]:
    """Runs to its end whatever the client does; a bug here is a 451, and the client keeps the message."""
    group = session.group
    group.counts.messages += 1
    try:
        if refusal is not None:
            return await group.intake.refuse_body(transaction, body, refusal, refusal.text)
        return await group.intake.accept(transaction, body)
    except Refusal as refused:
        return _each(session, transaction, refused.reply)
    except ClientLeft:  # nobody hears that it is in custody, so it is not: as after a 4yz reply (RFC 5321 §4.1.1.10)
        log.info("not taken, the client is gone", extra={"fields": {"message": transaction.id.hex}})
        session.abort()
        return ()
    except StoreError as error:  # away or full: the client keeps the message
        log.error("a message can't be recorded now", extra={"fields": {"message": transaction.id.hex, "error": str(error)}})
        return _each(session, transaction, replies.FAULT)
    except Exception:
        group.counts.bugs += 1
        log.exception("a message failed on the road", extra={"fields": {"message": transaction.id.hex}})
        return _each(session, transaction, replies.FAULT)


def _each(session: "Session", transaction: Transaction, reply: Reply) -> tuple[Reply, ...]:
    """RFC 2033 §4.2: under LMTP one reply for each recipient."""
    return (reply,) * (len(transaction.recipients) if session.peer.lmtp else 1)
