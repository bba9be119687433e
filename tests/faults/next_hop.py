"""A next hop that is a witness: it keeps each copy at the final dot, before it answers, and looks then at what the record says of it."""

import asyncio
import hashlib
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from relay.settings.models import Store
from relay.store.engine import open_engine
from relay.store.tables import Delivery, EventRecord, Queue
from tests.servers.sink import Behaviour, Message, Sink
from tests.stories.house import until

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
QUEUE = Queue.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
TRACE_ID = re.compile(rb"^Received: .*?\bid ([0-9a-f]{32})\b", re.DOTALL | re.MULTILINE)
"""The id of the 250, in the trace field that Sluis put in front."""
LOCKED = "database is locked"
"""SQLite, while the relay opens it anew after a crash: it is asked again."""
LOOKS = 50
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Copy:
    """One message that arrived, for one recipient. `decided` and `marked`: at the final dot the store held an event with its decision, and
    the mark of an attempt; None where the store could not be asked."""

    recipient: str
    sender: str
    raw: bytes
    id: uuid.UUID | None
    decided: bool | None
    marked: bool | None

    @property
    def digest(self) -> str:
        """SHA-256 of all that arrived, in hex."""
        return hashlib.sha256(self.raw).hexdigest()


class NextHop(Sink):
    """`store` is what to look into; nothing of it stays open. Gates, drops and replies are those of a Sink; `copies` is what arrived."""

    def __init__(self, store: Store) -> None:
        super().__init__(Behaviour(keep_at_dot=True))
        self.copies: list[Copy] = []
        self._store = store

    def refused(self) -> Counter[str]:
        """How often each recipient was refused for good."""
        return Counter(stage for stage, reply in self.answers if "@" in stage and reply.startswith("5"))

    async def keep(self, message: Message) -> None:
        found = TRACE_ID.search(message.raw)
        identity = uuid.UUID(found[1].decode()) if found else None
        self.copies += await asyncio.to_thread(self._witnessed, message, identity)
        await super().keep(message)

    def _witnessed(self, message: Message, identity: uuid.UUID | None) -> list[Copy]:
        """In a thread: other sessions have time-outs meanwhile."""
        sender, raw = message.envelope.sender, message.raw
        return [Copy(each, sender, raw, identity, *self._looked_up(identity, each)) for each in message.envelope.addresses]

    def _looked_up(self, identity: uuid.UUID | None, recipient: str) -> tuple[bool | None, bool | None]:
        if identity is None:
            return False, False
        for _ in range(LOOKS):
            try:
                return self._asked(identity, recipient)
            except SQLAlchemyError as error:
                if LOCKED not in str(error):
                    break
                time.sleep(LOOK_SECONDS)
        return None, None

    def _asked(self, identity: uuid.UUID, recipient: str) -> tuple[bool, bool]:
        """Raises SQLAlchemyError."""
        events = select(RECORD.c.event_id).where(RECORD.c.message_id == identity)
        join = (QUEUE.c.message_id == DELIVERY.c.message_id) & (QUEUE.c.ordinal == DELIVERY.c.ordinal)
        row = (
            select(DELIVERY.c.disposition, QUEUE.c.marked_fence)
            .join(QUEUE, join)
            .where(DELIVERY.c.message_id == identity, DELIVERY.c.recipient == recipient)
        )
        engine = open_engine(self._store)
        try:
            with engine.connect() as connection:
                delivery: Any = connection.execute(row).first()
                decided = connection.execute(events).first() is not None and delivery is not None and delivery.disposition == "deliver"
                return decided, delivery is not None and delivery.marked_fence is not None
        finally:
            engine.dispose()

    def copies_of(self, identity: uuid.UUID) -> list[Copy]:
        """What arrived of one message."""
        return [copy for copy in self.copies if copy.id == identity]

    async def until_held(self, stage: str, seconds: float = 60) -> None:
        """Waits until a session waits at a stage that is held."""
        await until(lambda: stage in self.waiting, f"a session that waits at {stage}", seconds)

    def hold(self, stage: str) -> Callable[[], None]:
        """The replies at a stage wait until what is returned is called."""
        gate = self.behaviour.gates[stage] = asyncio.Event()
        self.waiting.clear()

        def release() -> None:
            gate.set()
            self.behaviour.gates.pop(stage, None)

        return release
