"""The checker: reads the file in which the client keeps its log, what arrived, the spool, the queue and the audit, and says which promise
does not hold.

It believes nothing that the relay says of itself where somebody else has seen it: 250 is what the client heard, delivered is what the next
hop has, content is what the client sent.
"""

import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from relay.model.delivery import QUEUED, WAITING, State
from relay.model.errors import SpoolError
from relay.store.reader import Reader
from relay.store.spool.ports import Spool
from tests.faults.client import Transaction
from tests.faults.next_hop import Copy
from tests.faults.stored import Stored, acceptances, counted, in_custody, last_states, read_stored


@dataclass(frozen=True, order=True)
class Violation:
    """`promise` is its number in ARCHITECTURE.md."""

    promise: int
    what: str


@dataclass
class Verdict:
    """`possible_duplicates` is what the record names; `duplicates` what the next hop has more than once. `unheard` are messages that are in
    custody though their client heard no 250: it will send them again, and when it has, there must be none. `unseen` are copies at whose
    final dot the store could not be asked."""

    violations: list[Violation] = field(default_factory=list)
    heard: int = 0
    copies: int = 0
    possible_duplicates: int = 0
    duplicates: int = 0
    unheard: int = 0
    unseen: int = 0

    @property
    def broken(self) -> set[int]:
        """The promises that do not hold."""
        return {violation.promise for violation in self.violations}


@dataclass
class Causes:
    """Why a delivery may end otherwise than policy says. `released` and `deleted` are what a person has asked for, `refused` how often the
    next hop has refused a recipient for good, `harmed` the messages whose stored body a fault has altered, and what they may be then."""

    released: set[tuple[uuid.UUID, int]] = field(default_factory=set)
    deleted: set[tuple[uuid.UUID, int]] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    harmed: dict[uuid.UUID, State] = field(default_factory=dict)


class Checker:
    """`log` is what the client's log file says, `end` what policy wants for a recipient: a waiting state, or None where it is to be
    delivered."""

    def __init__(
        self,
        engine: Engine,
        spool: Spool,
        log: Sequence[Transaction],
        copies: Sequence[Copy],
        end: Callable[[str], State | None],
        causes: Causes,
    ) -> None:
        self._engine = engine
        self._spool = spool
        self._log = log
        self._copies = copies
        self._end = end
        self._causes = causes
        self._arrived: dict[tuple[uuid.UUID | None, str], list[Copy]] = defaultdict(list)
        for copy in copies:
            self._arrived[copy.id, copy.recipient].append(copy)

    def verdict(self) -> Verdict:
        """Asks everything."""
        reader = Reader(self._engine, 1)
        try:
            stored = reader.read_now(read_stored)
        finally:
            reader.close()
        verdict = Verdict(heard=sum(t.heard_250 for t in self._log), copies=len(self._copies))
        verdict.unseen = sum(copy.decided is None or copy.marked is None for copy in self._copies)
        by_digest: dict[str, list[uuid.UUID]] = defaultdict(list)
        for identity, rows in stored.deliveries.items():
            by_digest[rows[0].m_digest].append(identity)
        for transaction in self._log:
            known = by_digest[transaction.digest]
            verdict.violations += self._of_transaction(transaction, stored, known)
            if len(taken := [identity for identity in known if in_custody(stored.deliveries[identity])]) > 1:
                verdict.violations.append(Violation(1, f"transaction {transaction.number} was taken {len(taken)} times"))
        sent = {transaction.digest: transaction for transaction in self._log}
        told = {transaction.digest for transaction in self._log if transaction.heard_250}
        verdict.unheard = sum(
            digest not in told and any(in_custody(stored.deliveries[identity]) for identity in by_digest[digest]) for digest in sent
        )
        for identity, rows in stored.deliveries.items():
            verdict.violations += self._of_deliveries(identity, rows, stored)
            verdict.violations += self._of_ends(identity, rows, sent.get(rows[0].m_digest))
            verdict.possible_duplicates += sum(row.possible_duplicates for row in rows)
        verdict.violations += self._of_refusals(stored)
        for copy in self._copies:
            verdict.violations += self._of_copy(copy, stored, sent)
        verdict.duplicates = sum(len(copies) - 1 for copies in self._arrived.values())
        verdict.violations += self._of_balance(stored)
        verdict.violations.sort()
        return verdict

    def _of_transaction(self, transaction: Transaction, stored: Stored, known: list[uuid.UUID]) -> Iterator[Violation]:
        """Promise 1, from the client's side."""
        name = f"transaction {transaction.number}"
        refused = transaction.reply is not None and transaction.reply.code >= 500
        if refused and any(in_custody(stored.deliveries[identity]) for identity in known):
            yield Violation(1, f"{name} was refused for good, and is in custody")
        if transaction.id is None or transaction.reply is None:
            return
        rows = stored.deliveries.get(transaction.id)
        if not rows:
            yield Violation(1, f"{name} heard 250 and is gone: the record has no message {transaction.id.hex}")
            return
        if [row.recipient for row in rows] != list(transaction.recipients):
            yield Violation(1, f"{name} has other recipients in the record: {[row.recipient for row in rows]}")
        if rows[0].m_digest != transaction.digest:
            yield Violation(1, f"{name} has another digest in the record")
        accepted = acceptances(stored.events[transaction.id])
        if len(accepted) != 1 or accepted[0]["details"]["digest"] != transaction.digest:
            yield Violation(1, f"{name} heard 250, and the audit has {len(accepted)} events that say so")
        elif accepted[0]["commitment"] != transaction.reply.commitment:
            yield Violation(1, f"{name} heard a receipt that the audit can't show")

    def _of_deliveries(self, identity: uuid.UUID, rows: list[Any], stored: Stored) -> Iterator[Violation]:
        """Promises 1 and 2, from the record's side: where each recipient of a message is, and whether it is there."""
        if any(State(row.state) in WAITING for row in rows) and self._body(rows[0]) != rows[0].m_digest:
            yield Violation(1, f"message {identity.hex} waits without its body")
        last = last_states(stored.events[identity])
        for row in rows:
            name = f"{identity.hex}/{row.ordinal} ({row.recipient}, {row.state})"
            state = State(row.state)
            copies = self._arrived.get((identity, row.recipient), [])
            if state is State.DELIVERED and not copies:
                yield Violation(1, f"{name} did not arrive")
            if state in QUEUED and (identity, row.ordinal) not in stored.queued:
                yield Violation(1, f"{name} is in no queue: nobody will bring it on")
            if state not in QUEUED and (identity, row.ordinal) in stored.queued:
                yield Violation(1, f"{name} is still in the queue")
            if state not in QUEUED and last.get(row.recipient, (None, {}))[0] != row.state:
                yield Violation(2, f"{name}: the last event says {last.get(row.recipient)}")
            yield from self._of_attempts(name, row, copies, last.get(row.recipient, ("", {}))[1])

    def _of_ends(self, identity: uuid.UUID, rows: list[Any], transaction: Transaction | None) -> Iterator[Violation]:
        """Promises 1 and 4: each recipient is where policy says, or there is a cause for another end that somebody else has seen."""
        custody = in_custody(rows)
        for row in rows:
            name = f"{identity.hex}/{row.ordinal} ({row.recipient}, {row.state})"
            state = State(row.state)
            wanted = self._end(row.recipient) or State.DELIVERED
            key = (identity, row.ordinal)
            if state in QUEUED or state in (wanted, self._causes.harmed.get(identity)):
                continue
            if state is State.DELIVERED or state in (State.HELD, State.QUARANTINED):
                if state is not State.DELIVERED or key not in self._causes.released:
                    yield Violation(4, f"{name}: policy says {self._end(row.recipient)}")
            elif state is State.BOUNCED:
                if not self._causes.refused[row.recipient]:
                    yield Violation(1, f"{name}: it was bounced, and no next hop has refused it")
                elif not self._noticed(row, transaction):
                    yield Violation(1, f"{name}: it was bounced, and its sender was not told")
            elif state is State.DELETED:
                if key not in self._causes.deleted:
                    yield Violation(1, f"{name}: it was deleted, and nobody has asked for it")
            elif state is State.UNDELIVERABLE or custody:
                yield Violation(1, f"{name}: policy says {self._end(row.recipient)}, and nothing was in its way")

    def _of_refusals(self, stored: Stored) -> Iterator[Violation]:
        """Promise 1: there are no more bounces than refusals of the next hop."""
        bounced = Counter(row.recipient for rows in stored.deliveries.values() for row in rows if row.state == State.BOUNCED)
        for recipient, number in (bounced - self._causes.refused).items():
            yield Violation(1, f"{recipient} has {number} bounces more than the next hop has refused it")

    def _noticed(self, row: Any, transaction: Transaction | None) -> bool:
        """Whether a notice about this recipient of this very message has arrived at its sender (RFC 3464: Final-Recipient, and the header
        of the message)."""
        if transaction is None:
            return False
        names = (f"Final-Recipient: rfc822; {row.recipient}".encode(), transaction.message_id)
        return any(
            copy.sender == "" and copy.recipient == transaction.sender and all(name in copy.raw for name in names) for copy in self._copies
        )

    def _of_attempts(self, name: str, row: Any, copies: list[Copy], outcome: dict[str, Any]) -> Iterator[Violation]:
        """What left is what the record says, and what arrived twice is named."""
        if row.state == State.DELIVERED and copies:
            prefixes = {hashlib.sha256(copy.raw[: len(copy.raw) - row.m_size]).hexdigest() for copy in copies}
            if outcome.get("prefix_sha256") not in prefixes or (row.outcome or {}).get("prefix_sha256") not in prefixes:
                yield Violation(2, f"{name}: the record names other bytes than those that arrived")
        if len(copies) - 1 > row.possible_duplicates:
            yield Violation(1, f"{name} arrived {len(copies)} times, and the record names {row.possible_duplicates} possible duplicates")
        if row.state == State.DELIVERED and row.possible_duplicates and not outcome.get("possible_duplicate"):
            yield Violation(1, f"{name}: its event does not name the possible duplicate")

    def _of_copy(self, copy: Copy, stored: Stored, sent: dict[str, Transaction]) -> Iterator[Violation]:
        """Promises 1, 2, 4 and 5, from the next hop's side."""
        rows = [row for row in stored.deliveries.get(copy.id, []) if row.recipient == copy.recipient] if copy.id else []
        name = f"what arrived as {copy.id.hex if copy.id else 'no id'} for {copy.recipient}"
        if not rows:
            yield Violation(2, f"{name} is not in the record")
            return
        (row,) = rows
        body = copy.raw[-row.m_size :]
        transaction = sent.get(row.m_digest)
        if hashlib.sha256(body).hexdigest() != row.m_digest or (transaction is not None and body != transaction.raw):
            yield Violation(5, f"{name} has altered bytes")
        if transaction is None and row.m_client != "sluis":
            yield Violation(2, f"{name} was sent by nobody")
        if transaction is not None and (copy.sender != transaction.sender or copy.recipient not in transaction.recipients):
            yield Violation(4, f"{name} has another envelope than was sent")
        if copy.decided is False:
            yield Violation(2, f"{name} left before its decision was in the store")
        if copy.marked is False:
            yield Violation(1, f"{name} left without a mark")
        if row.m_client != "sluis" and self._end(copy.recipient) is not None and (copy.id, row.ordinal) not in self._causes.released:
            yield Violation(4, f"{name} was to be {self._end(copy.recipient)}")

    def _of_balance(self, stored: Stored) -> Iterator[Violation]:
        """Promise 14, against the rows, the running counts and the log."""
        if not stored.balance.holds:
            yield Violation(14, f"the balance does not hold: {stored.balance}")
        told: Counter[str] = Counter()
        for events in stored.events.values():
            told.update(counted(events))
        for name in ("accepted", "delivered", "bounced", "deleted"):
            if told[name] != getattr(stored.balance, name):
                yield Violation(14, f"{name}: {told[name]} in the log, {getattr(stored.balance, name)} in the rows")
        yield from (Violation(14, f"the audit's own check: {what}") for what in stored.unsound)

    def _body(self, row: Any) -> str:
        """The digest of what the spool has, or why it has nothing."""
        try:
            reader = self._spool.open(row.m_spool_object or "")
        except (SpoolError, OSError) as error:
            return str(error)
        try:
            found = hashlib.sha256()
            for chunk in reader.chunks():
                found.update(chunk)
            return found.hexdigest()
        except SpoolError as error:
            return str(error)
        finally:
            reader.close()
