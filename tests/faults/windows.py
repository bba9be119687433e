"""The windows in which the relay is killed. Each brings messages into its window, kills, and gives them; the relay is dead then.

That they were there is shown by what others saw: the client's log, the next hop, the spool, and the store as the crash left it. A window
that was missed fails the round: NotInWindow.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from relay.model.delivery import State
from tests.faults.client import Transaction
from tests.faults.stand import CLERKS, DESK, Stand
from tests.faults.strace import Inject, Trace, ended, traced
from tests.stories.house import until

Window = Callable[[Stand], Awaitable[list[Transaction]]]
SYNC_OF_STORE, SYNC_OF_SPOOL, WRITE_OF_STORE = ("fdatasync",), ("fsync",), ("pwrite64",)
"""As SQLite and the spool make them (Linux)."""
KILLED, FROZEN = "signal=SIGKILL", "signal=SIGSTOP"
"""Before the call is made; when it has been made."""
SENDERS = 4


class NotInWindow(AssertionError):
    """The kill came at another moment: the round proves nothing."""


def _prove(fact: bool, what: str) -> None:
    if not fact:
        raise NotInWindow(f"not in the window: {what}")


class Bomb:
    """strace on the relay, set up in the middle of something: `arm` is a hook, `defuse` ends it."""

    def __init__(self, at: Stand, calls: tuple[str, ...], what: str, when: str = "1") -> None:
        self._at = at
        self._inject = Inject(calls, what, when)
        self._stack = contextlib.AsyncExitStack()
        self.trace: Trace | None = None

    async def arm(self) -> None:
        at = self._at
        output = at.house.folder / f"strace.{len(list(at.house.folder.glob('strace.*')))}"
        self.trace = await self._stack.enter_async_context(traced(at.house.pid, self._inject, output=output))

    async def gone_off(self) -> None:
        """Frozen: waits until it stands still. Killed: until it is dead."""
        assert self.trace is not None
        if self._inject.what == FROZEN:
            await self.trace.until_stopped()
        else:
            await self.trace.until_ended()

    async def clear(self) -> None:
        """Kills what is frozen, or was missed, and ends strace."""
        if not ended(self._at.house.pid):
            os.kill(self._at.house.pid, signal.SIGKILL)
        await self._stack.aclose()
        await self._at.until_dead()


async def _accepting(
    at: Stand, calls: tuple[str, ...], what: str, proof: Callable[[Transaction], None], when: str = "1"
) -> list[Transaction]:
    """The bomb is armed when all but the final dot was sent, so that it goes off on the way to the 250."""
    bomb = Bomb(at, calls, what, when)
    transaction = at.compose()
    sending = asyncio.create_task(at.client.send(at.house.port(), transaction, before_dot=bomb.arm))
    try:
        await until(lambda: transaction.dot or sending.done(), "the final dot")
        await bomb.gone_off()
        proof(transaction)
    finally:
        await bomb.clear()
        await sending
    _prove(not transaction.heard_250, "the client heard 250")
    return [transaction]


async def spool_written(at: Stand) -> list[Transaction]:
    """The body is synced, its folder not yet, and the store knows nothing."""
    before = set(at.spool_names())

    def proof(transaction: Transaction) -> None:
        _prove(at.rows_of(transaction) == [], "it is in the store")
        _prove(len(set(at.spool_names()) - before) == 1, "there is no new body in the spool")

    return await _accepting(at, SYNC_OF_SPOOL, FROZEN, proof)


async def before_commit(at: Stand) -> list[Transaction]:
    """Amid the writes of the accepting commit: its body is sealed, its rows are half written."""
    before = set(at.spool_names())

    def proof(transaction: Transaction) -> None:
        _prove(at.rows_of(transaction) == [], "it is committed")
        _prove(len(set(at.spool_names()) - before) == 1, "its body is not in the spool")

    return await _accepting(at, WRITE_OF_STORE, KILLED, proof, str(at.rng.randrange(1, 20)))


async def amid_commit(at: Stand) -> list[Transaction]:
    """All is written, nothing is synced: what becomes of it is for the disk to say."""

    def proof(transaction: Transaction) -> None:
        _prove(transaction.dot, "it was not sent")

    return await _accepting(at, SYNC_OF_STORE, KILLED, proof)


async def after_commit(at: Stand) -> list[Transaction]:
    """The commit is durable, the 250 is not written."""

    def proof(transaction: Transaction) -> None:
        _prove(at.rows_of(transaction) != [], "it is not committed")

    return await _accepting(at, SYNC_OF_STORE, FROZEN, proof)


async def after_250(at: Stand) -> list[Transaction]:
    """The client heard 250, and nothing has left yet."""
    release = at.hop.hold("MAIL")
    try:
        transaction = await at.send()
        await at.kill()
    finally:
        release()
    _prove(transaction.heard_250, "the client did not hear 250")
    _prove(not _copies(at, transaction), "it has left")
    return [transaction]


async def _delivering(
    at: Stand, stage: str, calls: tuple[str, ...], what: str, proof: Callable[[Any], None], when: str = "1"
) -> list[Transaction]:
    """The next hop holds its reply at a stage; the bomb is armed then, and the reply comes."""
    release = at.hop.hold(stage)
    bomb = Bomb(at, calls, what, when)
    try:
        transaction = await at.send([CLERKS[0]])
        _prove(transaction.heard_250, "it was not accepted")
        await at.hop.until_held(stage)
        await bomb.arm()
        release()
        await bomb.gone_off()
        (row,) = at.rows_of(transaction)
        proof(row)
    finally:
        release()
        await bomb.clear()
    return [transaction]


async def before_mark(at: Stand) -> list[Transaction]:
    """The content was sent, the mark is not in the store: no final dot may follow."""
    before = len(at.hop.copies)

    def proof(row: Any) -> None:
        _prove((row.attempts, len(at.hop.copies)) == (0, before), "the attempt is marked")

    return await _delivering(at, "DATA", WRITE_OF_STORE, KILLED, proof)


async def before_dot(at: Stand) -> list[Transaction]:
    """The mark is durable, the final dot is not written: the record must name a possible duplicate, and there is none."""
    before = len(at.hop.copies)

    def proof(row: Any) -> None:
        _prove((row.attempts, len(at.hop.copies)) == (1, before), "not marked, or the final dot has left")

    return await _delivering(at, "DATA", SYNC_OF_STORE, FROZEN, proof)


async def after_dot(at: Stand) -> list[Transaction]:
    """The next hop has the message, and has not said so."""
    release = at.hop.hold("DOT")
    try:
        transaction = await at.send([CLERKS[0]])
        await at.hop.until_held("DOT")
        await at.kill()
        _prove(len(_copies(at, transaction)) == 1, "the next hop has nothing")
    finally:
        release()
    return [transaction]


async def after_next_hops_250(at: Stand) -> list[Transaction]:
    """The next hop has said 250, and the outcome is not in the store."""
    before = len(at.hop.copies)

    def proof(row: Any) -> None:
        _prove((row.state, len(at.hop.copies)) == (State.READY, before + 1), "the outcome is in the store")

    return await _delivering(at, "DOT", WRITE_OF_STORE, KILLED, proof, str(at.rng.randrange(1, 10)))


async def after_outcome(at: Stand) -> list[Transaction]:
    """The outcome is durable, and nobody in the relay knows yet."""

    def proof(row: Any) -> None:
        _prove(row.state == State.DELIVERED, "the outcome is not in the store")

    return await _delivering(at, "DOT", SYNC_OF_STORE, FROZEN, proof)


async def during_release(at: Stand) -> list[Transaction]:
    """A person releases what is quarantined: at one of the commits between the order and the outcome."""
    transaction = await at.send([CLERKS[0], DESK])
    await at.settle()
    key = (transaction.reply.id, 1) if transaction.reply else None
    assert key is not None
    at.released.add(key)
    calls, what, most = at.rng.choice(((WRITE_OF_STORE, KILLED, 30), (SYNC_OF_STORE, KILLED, 4), (SYNC_OF_STORE, FROZEN, 4)))
    bomb = Bomb(at, calls, what, str(at.rng.randrange(1, most + 1)))
    await bomb.arm()
    asking = asyncio.create_task(at.release(transaction, 1))
    try:
        await bomb.gone_off()
        _prove(at.rows_of(transaction)[1].state != State.DELIVERED, "the release is over")
    finally:
        await bomb.clear()
        await asking
    return [transaction]


async def at_random(at: Stand) -> list[Transaction]:
    """Several clients send, and the kill comes when it comes."""

    async def sender() -> None:
        while at.running:
            try:
                await at.send()
            except OSError:
                return

    first = len(at.client.log)
    senders = [asyncio.create_task(sender()) for _ in range(SENDERS)]
    await asyncio.sleep(at.rng.uniform(0.05, 0.6))  # chance is the condition here
    await at.kill()
    await asyncio.gather(*senders)
    new = at.client.log[first:]
    queued = {row.message_id for row in at.queued()}
    caught = [t for t in new if (t.dot and t.reply is None) or t.id in queued]
    _prove(bool(caught), "nothing was on its way")
    return caught


def _copies(at: Stand, transaction: Transaction) -> list[Any]:
    return [copy for copy in at.hop.copies if copy.raw.endswith(transaction.raw)]


WINDOWS: dict[str, Window] = {
    "after spool write": spool_written,
    "before commit": before_commit,
    "amid commit": amid_commit,
    "after commit": after_commit,
    "after 250": after_250,
    "before mark": before_mark,
    "before final dot": before_dot,
    "after final dot": after_dot,
    "after next hop's 250": after_next_hops_250,
    "after outcome": after_outcome,
    "during release": during_release,
    "at random": at_random,
}
"""In the order of the road."""
