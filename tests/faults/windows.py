"""The windows in which the relay is killed. Each brings messages into its window, kills, and gives them; the relay is dead then.

That they were there is shown by what others saw: the client's log, the next hop, the spool, and the store as the crash left it. A window
that was missed fails the round: NotInWindow.
"""

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

from relay.model.delivery import State
from tests.faults import packs
from tests.faults.bombs import Point, bomb, prove
from tests.faults.client import Transaction
from tests.faults.stand import CLERKS, DESK, Stand
from tests.faults.strace import ATTACH_SECONDS, NotInWindow
from tests.servers.processes import client_ports
from tests.stories.house import until

Window = Callable[[Stand], Awaitable[list[Transaction]]]
SENDERS = 4
MOMENTS = 100


async def _accepting(at: Stand, point: Point, when: int = 1) -> Transaction:
    """The bomb is armed when all but the final dot was sent, so that it goes off on the way to the 250."""
    fuse = bomb(at, point, when)
    transaction = at.compose()
    sending = asyncio.create_task(at.client.send(at.house.port(), transaction, before_dot=fuse.arm))
    try:
        await until(lambda: transaction.dot or sending.done(), "the final dot", 2 * ATTACH_SECONDS)
        await fuse.gone_off()
    finally:
        await sending
    prove(not transaction.heard_250, "the client heard 250")
    return transaction


async def spool_written(at: Stand) -> list[Transaction]:
    """The body is synced, its folder not yet, and the store knows nothing."""
    before = set(at.spool_names())
    transaction = await _accepting(at, Point.BODY_SYNCED)
    prove(at.rows_of(transaction) == [], "it is in the store")
    prove(len(set(at.spool_names()) - before) == 1, "there is no new body in the spool")
    return [transaction]


async def before_commit(at: Stand) -> list[Transaction]:
    """Amid the writes of the accepting commit: its body is sealed, its rows are half written."""
    before = set(at.spool_names())
    transaction = await _accepting(at, Point.WRITING, at.rng.randrange(1, 20))
    prove(at.rows_of(transaction) == [], "it is committed")
    prove(len(set(at.spool_names()) - before) == 1, "its body is not in the spool")
    return [transaction]


async def amid_commit(at: Stand) -> list[Transaction]:
    """All is written, nothing is synced: what becomes of it is for the disk to say."""
    return [await _accepting(at, Point.WRITTEN)]


async def after_commit(at: Stand) -> list[Transaction]:
    """The commit is durable, the 250 is not written."""
    transaction = await _accepting(at, Point.SYNCED)
    prove(at.rows_of(transaction) != [], "it is not committed")
    return [transaction]


async def after_250(at: Stand) -> list[Transaction]:
    """The client heard 250, and nothing has left yet."""
    release = at.hop.hold("MAIL")
    try:
        transaction = await at.send()
        await at.kill()
    finally:
        release()
    prove(transaction.heard_250, "the client did not hear 250")
    prove(not _copies(at, transaction), "it has left")
    return [transaction]


async def _delivering(at: Stand, stage: str, point: Point, when: int = 1) -> tuple[Transaction, Any]:
    """The next hop holds its reply at a stage; the bomb is armed then, and the reply comes. Gives what the record has in the end."""
    release = at.hop.hold(stage)
    fuse = bomb(at, point, when)
    try:
        transaction = await at.send([CLERKS[0]])
        prove(transaction.heard_250, "it was not accepted")
        await at.hop.until_held(stage)
        await fuse.arm()
        release()
        await fuse.gone_off()
    finally:
        release()
    (row,) = at.rows_of(transaction)
    return transaction, row


async def before_mark(at: Stand) -> list[Transaction]:
    """The content was sent, the mark is not in the store: no final dot may follow."""
    transaction, row = await _delivering(at, "DATA", Point.WRITING)
    prove((row.attempts, len(_copies(at, transaction))) == (0, 0), "the attempt is marked")
    return [transaction]


async def before_dot(at: Stand) -> list[Transaction]:
    """The mark is durable, the final dot is not written: the record must name a possible duplicate, and there is none."""
    transaction, row = await _delivering(at, "DATA", Point.SYNCED)
    prove((row.attempts, len(_copies(at, transaction))) == (1, 0), "not marked, or the final dot has left")
    return [transaction]


async def after_dot(at: Stand) -> list[Transaction]:
    """The next hop has the message, and has not said so."""
    release = at.hop.hold("DOT")
    try:
        transaction = await at.send([CLERKS[0]])
        await at.hop.until_held("DOT")
        await at.kill()
        prove(len(_copies(at, transaction)) == 1, "the next hop has nothing")
    finally:
        release()
    return [transaction]


async def after_next_hops_250(at: Stand) -> list[Transaction]:
    """The next hop has said 250, and the outcome is not in the store."""
    transaction, row = await _delivering(at, "DOT", Point.WRITING, at.rng.randrange(1, 10))
    prove((row.state, len(_copies(at, transaction))) == (State.READY, 1), "the outcome is in the store")
    return [transaction]


async def after_outcome(at: Stand) -> list[Transaction]:
    """The outcome is durable, and nobody in the relay knows yet."""
    transaction, row = await _delivering(at, "DOT", Point.SYNCED)
    prove(row.state == State.DELIVERED, "the outcome is not in the store")
    return [transaction]


async def during_release(at: Stand) -> list[Transaction]:
    """A person has released what is quarantined, and the command has said so: it is held up on its way (in its inspection, or by the next
    hop), the bomb is armed, and it goes on to the next of its commits."""
    transaction = await at.send([CLERKS[0], DESK])
    await at.settle()
    stage = at.rng.choice(("INSPECT", "MAIL", "DATA", "DOT"))
    point = Point.WRITING if stage == "DOT" else at.rng.choice((Point.WRITING, Point.SYNCED))
    fuse = bomb(at, point, at.rng.randrange(1, 9) if point is Point.WRITING else 1)
    with at.workers_stopped() if stage == "INSPECT" else at.held(stage):
        prove(await at.release(transaction, 1) == 0, "the order was not carried out")
        if stage != "INSPECT":
            await at.hop.until_held(stage)
        await fuse.arm()
    await fuse.gone_off()
    state = at.rows_of(transaction)[1].state
    prove("release" in at.kinds_of(transaction), "the order is not in the record")
    prove(state in (State.UNDECIDED, State.READY), f"it is {state}")
    return [transaction]


async def at_random(at: Stand) -> list[Transaction]:
    """Several clients send, and the kill comes when it comes."""
    first = len(at.client.log)
    async with _sending(at):
        async for waiting in _moments(at, first):
            if waiting:
                await at.kill()
                break
    return _on_the_way(at, first, {row.message_id for row in at.queued()})


async def one_of_several(at: Stand) -> list[Transaction]:
    """The same, and the kill is of one process that listens. The others go on; when the queue is empty they are killed, too."""
    first = len(at.client.log)
    before = at.processes()
    name = at.rng.choice([name for name in before if name.startswith("listen-")])
    async with _sending(at):
        async for waiting in _moments(at, first):
            os.kill(before[name], signal.SIGSTOP)
            ours = await asyncio.to_thread(client_ports, before[name])  # meanwhile it is heard what has been answered
            if any(transaction.port in ours and transaction.reply is None for transaction in waiting):
                break
            os.kill(before[name], signal.SIGCONT)
        os.kill(before[name], signal.SIGKILL)
        await until(lambda: at.processes().get(name) not in (None, before[name]), f"{name} to be started again")
    caught = _on_the_way(at, first)
    await at.settle()
    await at.kill()
    return caught


async def _moments(at: Stand, first: int) -> AsyncIterator[list[Transaction]]:
    """Moments of chance, each with what waits for its answer then: the machine may be so busy that nothing does. Raises NotInWindow."""
    for _ in range(MOMENTS):
        await asyncio.sleep(at.rng.uniform(0.05, 0.6))  # chance is the condition here
        yield [transaction for transaction in at.client.log[first:] if transaction.dot and transaction.reply is None]
    raise NotInWindow("nothing was on its way")


@contextlib.asynccontextmanager
async def _sending(at: Stand) -> AsyncIterator[None]:
    """Several clients send without end, until the relay is gone or the block is over."""
    over = False

    async def sender() -> None:
        while at.running and not over:
            try:
                await at.send()
            except OSError:
                await asyncio.sleep(0.01)  # nobody listens, or what was to be the answer was cut off

    senders = [asyncio.create_task(sender()) for _ in range(SENDERS)]
    try:
        yield
    finally:
        over = True
        await asyncio.gather(*senders)


def _on_the_way(at: Stand, first: int, queued: Collection[uuid.UUID] = ()) -> list[Transaction]:
    """What was sent since, and was not answered, or is `queued`."""
    caught = [t for t in at.client.log[first:] if (t.dot and t.reply is None) or t.id in queued]
    prove(bool(caught), "nothing was on its way")
    return caught


def _copies(at: Stand, transaction: Transaction) -> list[Any]:
    return [copy for copy in at.hop.copies if copy.raw.endswith(transaction.raw)]


WINDOWS: dict[str, Window] = {
    "after spool write": spool_written,
    "after pack write": packs.written,
    "after pack is named": packs.named,
    "amid commit of a pack": packs.amid_commit,
    "after commit of a pack": packs.committed,
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
    "one of several processes": one_of_several,
}
"""In the order of the road."""
SQLITE_ONLY = ("amid commit", "amid commit of a pack", "after commit of a pack")


ON_RELAY = ("after spool write", "after pack write", "after pack is named")
"""For which strace takes the relay: one process, that is."""
SEVERAL_ONLY = ("one of several processes",)
