"""PostgreSQL goes away under the relay: stopped, crashed, failed over to a standby that has everything, and to one that lags.

Servers are started from the thread of the test: they end with the thread that has started them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from tests.faults.around.play import Fault, NotThere, deferred, prove
from tests.faults.checker import Verdict
from tests.faults.client import SMALL, Transaction
from tests.faults.rounds import judged
from tests.faults.stand import CLERKS, LOOK_SECONDS, Stand
from tests.servers.standby import Server
from tests.stories.house import until

LATER = 451
SENDERS = 3
TRIES = 5
MOST_SENT = 60
BLOCK = 8192
NOT_TOLD = "No space left"


def stopped_at_accept(server: Server) -> Fault:
    """A shutdown when all but the final dot was sent."""

    async def fault(at: Stand) -> list[Transaction]:
        async def stop() -> None:
            server.stop()

        transaction = await at.send(before_dot=stop)
        during = await at.send()
        server.start()
        for one in (transaction, during):
            prove(one.reply is not None and one.reply.code == LATER, f"it heard {one.reply}")
        return [transaction, during]

    return fault


def crashed_at_commit(server: Server) -> Fault:
    """A crash at any moment between the final dot and its 250: the commit was made, or was not, and nobody could say so. A client that
    has heard 250 already was faster than the crash; another one sends then, and the last one's commit waits for a lock until the crash."""

    async def fault(at: Stand) -> list[Transaction]:
        sent = []
        for number in range(TRIES):
            with locked(server, at) if number == TRIES - 1 else nullcontext() as waits:

                async def crash() -> None:
                    if waits is None:
                        await asyncio.sleep(at.rng.uniform(0, 0.03))  # chance is the condition here
                    else:
                        await until(waits, "a commit that waits for the lock")
                    server.crash()

                sent.append(await at.send([CLERKS[0]], SMALL, after_dot=crash))
            server.start()
            if not sent[-1].heard_250:
                prove(sent[-1].dot, "nothing was sent")
                return sent
            await at.hurry()
            await at.settle()
        raise NotThere("every message was accepted before the crash")

    return fault


def crashed_while(server: Server, stage: str) -> Fault:
    """A crash while the next hop keeps its reply to itself, at MAIL or at DOT; it is up again before the reply comes, or after it."""

    async def fault(at: Stand) -> list[Transaction]:
        release = at.hop.hold(stage)
        try:
            transaction = await at.send([CLERKS[0]])
            prove(transaction.heard_250, f"it was not accepted: {transaction.reply}")
            await at.hop.until_held(stage)
            before = len(at.house.log())
            server.crash()
        finally:
            release()
        if stage == "DOT" or at.rng.random() < 0.5:
            await until(lambda: "the queue can't be read" in at.house.log()[before:], "a relay that has noticed")
        server.start()
        return [transaction]

    return fault


def crashed_under_load(server: Server) -> Fault:
    """Several clients send; it crashes and comes back, twice."""

    async def fault(at: Stand) -> list[Transaction]:
        async with sending(at) as sent:
            for _ in range(2):
                await until(lambda: len(sent) > SENDERS, "some mail")
                before, refused = len(at.house.log()), len(_refused(sent))
                server.crash()
                await until(lambda: "the queue can't be read" in at.house.log()[before:], "a relay that has noticed")  # noqa: B023
                await until(lambda: len(_refused(sent)) > refused, "a client that has noticed")  # noqa: B023
                server.start()
                taken = len(_taken(sent))
                await until(lambda: len(_taken(sent)) > taken, "mail again")  # noqa: B023
        return sent

    return fault


def full(disk: Path) -> Fault:
    """The disk of the server's tables is full, while that of its log has room: no row can be added (SQLSTATE 53100). Clients hear 451,
    what is in custody waits, and all goes on when there is room again."""

    async def fault(at: Stand) -> list[Transaction]:
        before, ballast = len(at.house.log()), disk / "ballast"
        at.hop.behaviour.replies = {"MAIL": "451 4.3.0 Later"}
        sent = [await at.send([CLERKS[0]], SMALL)]
        prove(sent[0].heard_250, f"it was not accepted: {sent[0].reply}")
        await until(lambda: deferred(at, sent[0]), "a first attempt", every=LOOK_SECONDS)
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(BLOCK)):
                pass
        try:
            while sent[-1].heard_250 and len(sent) < MOST_SENT:
                sent.append(await at.send([CLERKS[0]], SMALL))
            prove(sent[-1].reply is not None and sent[-1].reply.code == LATER, f"it heard {sent[-1].reply}")
            prove("No space left on device" in at.house.log()[before:], "another reason")
            at.hop.behaviour.replies = {}
            await until(lambda: len(at.hop.copies) > 0 or NOT_TOLD in at.house.log()[before:], "a delivery, or that it can't be made")
        finally:
            ballast.unlink()
            at.hop.behaviour.replies = {}
        return sent

    return fault


@asynccontextmanager
async def sending(at: Stand) -> AsyncIterator[list[Transaction]]:
    """Clients that send, one message after the other, until the end of the block; gives what they have sent until now."""
    sent: list[Transaction] = []
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            transaction = await at.send([CLERKS[0]], SMALL)
            sent.append(transaction)
            if not transaction.heard_250:
                await asyncio.sleep(0.05)  # a client that was refused does not come back at once

    clients = [asyncio.create_task(client()) for _ in range(SENDERS)]
    try:
        yield sent
    finally:
        over.set()
        await asyncio.gather(*clients)


def _taken(sent: Sequence[Transaction]) -> list[Transaction]:
    return [one for one in sent if one.heard_250]


def _refused(sent: Sequence[Transaction]) -> list[Transaction]:
    return [one for one in sent if not one.heard_250]


@contextmanager
def locked(server: Server, at: Stand) -> Iterator[Callable[[], bool]]:
    """Somebody holds what a commit writes, until the end of the block or the server's. Gives whether one waits for it."""
    host, database = str(server.sockets), make_url(at.owner.url).database
    with (
        suppress(psycopg.OperationalError),
        psycopg.connect(host=host, port=server.port, user=server.superuser, dbname=database) as connection,
    ):
        connection.execute("LOCK TABLE event, delivery IN SHARE MODE")
        yield lambda: connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,)


def postgres(server: Server) -> dict[str, Fault]:
    """All faults after which the same server comes back."""
    return {
        "PostgreSQL stopped at accept": stopped_at_accept(server),
        "PostgreSQL crashed at commit": crashed_at_commit(server),
        "PostgreSQL crashed before the next hop": crashed_while(server, "MAIL"),
        "PostgreSQL crashed at the final dot": crashed_while(server, "DOT"),
        "PostgreSQL crashed under load": crashed_under_load(server),
    }


async def fail_over(at: Stand, primary: Server, standby: Server, renewed: Callable[[], Awaitable[None]]) -> list[Transaction]:
    """The primary dies under load, and its synchronous standby takes its place; `renewed` gives that one a standby of its own, and until
    then nothing is accepted. Gives what was sent."""
    async with sending(at) as sent:
        await until(lambda: len(_taken(sent)) > SENDERS, "some mail")
        primary.crash()
        before = len(at.house.log())
        await until(lambda: "the queue can't be read" in at.house.log()[before:], "a relay that has noticed")
        await until(lambda: _refused(sent), "a client that has noticed")
        standby.take_over(primary)
        await until(lambda: "synchronous_standby_names is empty" in at.house.log()[before:], "a refusal of a server without a standby")
        taken = len(_taken(sent))
        await renewed()
        await until(lambda: len(_taken(sent)) > taken, "mail again", 60)
    await at.again(sent)
    await at.hurry()
    await at.settle()
    faults = judged(at.check(), Verdict(), store_away=True)
    assert faults == [], faults
    return sent
