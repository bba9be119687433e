"""The real record on a real store and spool, without the road before it: what a test says was decided, is taken into custody."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select

from relay.model.decision import Decision, Disposition, Epoch, Match, Verdict
from relay.model.delivery import State
from relay.model.envelope import Envelope, Recipient, Sender
from relay.model.features import Header, Inspection
from relay.model.ids import new_id
from relay.model.message import Claimed, Decided, Inspected, Received, Recorded
from relay.record import Record
from relay.settings.models import Spool as SpoolSettings
from relay.settings.models import Store
from relay.sign.body_hash import RelaxedBodyHash
from relay.store import queue
from relay.store.engine import open_engine
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.spool.folder import FolderSpool
from relay.store.spool.keys import new_keypair
from relay.store.spool.ports import Spool
from relay.store.tables import Delivery, Event, EventRecord, Kept, Message, Queue
from tests.fakes.custody import NOW_US, PEER, mailbox

Result = TypeVar("Result")
EPOCH = Epoch("ab" * 32, "open")
CONTENT = b"From: jan@example.nl\r\nSubject: geheim dossier\r\n\r\nTekst\r\n"
SECOND = 1_000_000
LEASE_US = 600 * SECOND
_TABLES: dict[str, Any] = {model.__tablename__: model.__table__ for model in (Message, Delivery, Queue, Event, EventRecord, Kept)}  # type: ignore[union-attr]
DISPOSITIONS = {
    State.READY: Disposition.DELIVER,
    State.UNDECIDED: Disposition.DELIVER,
    State.HELD: Disposition.HOLD,
    State.QUARANTINED: Disposition.QUARANTINE,
    State.REFUSED: Disposition.REJECT,
}


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time_us = NOW_US

    def now_us(self) -> int:
        return self.time_us

    def forward(self, microseconds: int) -> None:
        self.time_us += microseconds


class Recording:
    """Journal, reader, spool and record over one store. `claim` and the like are one commit each."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.settings = SpoolSettings(
            folder=folder / "spool", public_key=folder / "keys" / "spool.pub", private_keys=folder / "keys" / "spool"
        )
        if not self.settings.public_key.exists():
            new_keypair(folder / "keys" / "spool.pub", folder / "keys" / "spool")
        self.store = store
        self.engine: Engine = open_engine(store)
        self.journal = Journal(self.engine, store.batch_messages)
        self.reader = Reader(self.engine)
        self.spool = FolderSpool(self.settings, RelaxedBodyHash)
        self.clock = HandClock()
        self.record_with(self.spool)

    def record_with(self, spool: Spool) -> None:
        """From now on bodies are written to and sealed by `spool`."""
        self._written_to = spool
        self.record = Record(self.journal, spool, self.clock, "relay.example.nl", 432_000 * SECOND, 300 * SECOND)

    def close(self) -> None:
        self.spool.close()
        self.journal.close()
        self.reader.close()
        self.engine.dispose()

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """One commit of the journal."""
        return self.journal.submit_now(work)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table, in the order of their primary key."""
        found = _TABLES[table]
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(select(found).order_by(*found.primary_key.columns))]

    def decided(
        self,
        states: Sequence[State] = (State.READY,),
        content: bytes = CONTENT,
        sender: Sender | None = None,
        recipients: Sequence[Recipient] | None = None,
        inspection: Inspection | None = None,
    ) -> Decided:
        """A message whose bytes are in the spool, not yet durable, with a verdict for each recipient that leads to its state."""
        identity = new_id()
        writer = self._written_to.create(identity)
        writer.write(content)
        to = tuple(recipients or (Recipient(mailbox(f"piet{number}@partner.example")) for number in range(len(states))))
        received = Received(
            id=identity,
            peer=PEER,
            client="exchange",
            envelope=Envelope(sender or Sender(mailbox("jan@example.nl")), to),
            body=writer.finish(normalised=False),
            received_us=self.clock.now_us(),
            vouched=True,
            authorised=True,
        )
        header = Header(from_addresses=("jan@example.nl",), from_fields=1, subject="geheim dossier", message_id="<1@example.nl>")
        decision = Decision(EPOCH, tuple(verdict_of(state) for state in states))
        return Decided(Inspected(received, inspection or Inspection(header)), decision)

    def accept(self, *states: State, **changes: Any) -> Recorded:
        """Taken into custody, one recipient for each state."""
        wanted = states or (State.READY,)
        decided = self.decided(wanted, **changes)
        recorded = asyncio.run(self.record.accept(decided, wanted))
        assert isinstance(recorded, Recorded)
        return recorded

    def accept_together(self, *contents: bytes, state: State = State.HELD) -> None:
        """Taken into custody in one moment: small ones share a pack."""

        async def together() -> None:
            decided = [self.decided([state], content) for content in contents]
            await asyncio.gather(*(self.record.accept(one, [state]) for one in decided))

        asyncio.run(together())

    def claim(self, owner: str = "relay-1", limit: int = 100) -> list[Claimed]:
        """What is due now."""
        now_us = self.clock.now_us()
        return self.write(lambda connection: queue.claim(connection, owner, now_us, LEASE_US, limit))


def verdict_of(state: State) -> Verdict:
    """A verdict that leads to `state`."""
    disposition = DISPOSITIONS[state]
    matches = () if disposition is Disposition.DELIVER else (Match(f"{disposition}-rule", disposition, "by rule"),)
    return Verdict(
        disposition,
        matches,
        deferred=state is State.UNDECIDED,
        because="by rule" if matches else "",
        route="out" if state is State.READY else None,
    )


@contextmanager
def recording_on(store: Store, folder: Path) -> Iterator[Recording]:
    """Open while it is used, with the journal's thread running."""
    recording = Recording(store, folder)
    recording.journal.start()
    try:
        yield recording
    finally:
        recording.close()
