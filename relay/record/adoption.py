"""The lost 250 (RFC 1047): what a client sends again because it did not hear the receipt is in custody already, and is taken once.

A receipt is written in the commit of its message, and removed when the client has said something more on the same connection: it has heard
then, and what it sends again is a new message. That is told to the store in batches, for which nobody waits; a crash in between leaves
receipts that were heard, so that the same bytes once more within a day are taken for a repetition.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy import Connection

from relay.audit.event import make_event, write
from relay.model.client import Peer
from relay.model.envelope import Envelope
from relay.model.errors import StoreError
from relay.model.message import Adopted, Received
from relay.model.plain_json import json_text
from relay.model.ports import Clock
from relay.record.accepting import Acceptance
from relay.store import unheard
from relay.store.codec import recipient_to_json, sender_to_json
from relay.store.journal import Batch, Journal
from relay.store.reader import Reader
from relay.store.unheard import Receipt

log = logging.getLogger("sluis.record")
DAY_US = 24 * 3600 * 1_000_000
TELL_SECONDS = 1.0  # how long what was heard may wait to be told to the store
TELL_AT = 256  # receipts that are told at once
PATIENCE_SECONDS = 2 * TELL_SECONDS  # what another process has heard is in the store after that
SWEEP_PAGE = 1000


def receipt_key(client: str, peer: Peer, envelope: Envelope, digest: str) -> bytes:
    """The same for the same client, envelope with parameters, and bytes. The address is part of it: one client of policy may be many hosts
    (all of the world), and what one of them brought must not stand for what another brings."""
    sender, recipients = sender_to_json(envelope.sender), [recipient_to_json(recipient) for recipient in envelope.recipients]
    whole = [client, peer.address, peer.login, peer.lmtp, sender, recipients, digest]
    return hashlib.sha256(json_text(whole).encode()).digest()


class Adoption:
    """`patience` is in seconds. What is said of one process holds for all that use the store, but for `turn`."""

    def __init__(self, journal: Journal, clock: Clock, actor: str, patience: float = PATIENCE_SECONDS) -> None:
        self._journal = journal
        self._clock = clock
        self._actor = actor
        self.patience = patience
        self._heard: set[bytes] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._last: dict[bytes, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def turn(self, key: bytes) -> AsyncIterator[None]:
        """From the last byte to the reply the same transactions go one after another: a client may have given up one that is still being
        inspected, and its second try must not overtake it."""
        before, mine = self._last.get(key), asyncio.get_running_loop().create_future()
        self._last[key] = mine
        try:
            if before is not None:
                await asyncio.shield(before)
            yield
        finally:
            mine.set_result(None)
            if self._last[key] is mine:
                del self._last[key]

    def heard(self, key: bytes) -> None:
        """The client has heard this receipt."""
        self._heard.add(key)
        if len(self._heard) == TELL_AT:
            self._tell()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._telling = asyncio.create_task(self.flush())

    async def flush(self) -> None:
        """Tells the store what was heard; returns after the commit. What the store does not take now, it is not told again."""
        if not self._heard:
            return
        heard, self._heard = self._heard, set()
        try:
            await self._journal.submit(lambda connection: unheard.remove(connection, heard))
        except StoreError as error:
            log.warning("receipts that were heard stay in the store", extra={"fields": {"count": len(heard), "error": str(error)}})

    @property
    def since_us(self) -> int:
        """Receipts count that are not older than this."""
        return self._clock.now_us() - DAY_US

    async def commit(self, received: Received, batch: Batch[Acceptance, Receipt | None], item: Acceptance) -> Adopted | None:
        """Writes `item` with `batch`, which gives the receipt that its client did not hear where there is one: then an event is all that
        is written."""
        if received.receipt in self._heard:
            await self.flush()
        first = await self._journal.submit_to(batch, item)
        if first is not None:
            # Perhaps it was heard, and the word of it is on its way: over the network, or from another process.
            await asyncio.sleep(self.patience)
            await self.flush()
            first = await self._journal.submit(partial(self._adopt, received=received, batch=batch, item=item))
        return Adopted(first.message_id, first.commitment, first.codes) if first else None

    def _adopt(
        self, connection: Connection, received: Received, batch: Batch[Acceptance, Receipt | None], item: Acceptance
    ) -> Receipt | None:
        [first] = batch(connection, [item])
        if first is not None:
            self._write(connection, received, first)
        return first

    def _write(self, connection: Connection, received: Received, first: Receipt) -> None:
        details = {"client": received.client, "digest": received.body.digest, "accepted_us": str(first.accepted_us)}
        event = make_event(
            "adopted",
            object_=f"message {first.message_id.hex}",
            result=",".join(map(str, first.codes)),
            origin=f"{received.peer.listener} [{received.peer.address}]",
            actor=self._actor,
            time_us=received.received_us,
            reason="the same envelope and bytes again, and the receipt was not heard",
            message_id=first.message_id,
            details=details,
        )
        write(connection, [event])

    async def sweep(self, reader: Reader) -> int:
        """Removes what is older than a day, page by page. Gives how many rows."""
        since_us = self._clock.now_us() - DAY_US
        removed, after = 0, b""
        while page := await reader.read(partial(unheard.too_old, since_us=since_us, after=after, limit=SWEEP_PAGE)):
            await self._journal.submit(partial(unheard.forget, since_us=since_us, keys=page))
            removed, after = removed + len(page), page[-1]
        return removed
