"""The test stand: a whole relay, its client, its next hops and a real clamd, over one store; it is killed, started again, and checked.

async with stand(tmp_path, database, clamd, seed=1) as at:
    sent = await at.send([CLERK, DESK])
    await at.house.kill()
    await at.start()
    await at.settle()
    verdict = at.check()
    assert verdict.violations == [], verdict
"""

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select

from relay.model.delivery import State
from relay.settings.load import load_settings
from relay.settings.models import Store
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.engine import open_engine, sqlite_path
from relay.store.search import Search, find
from relay.store.spool.open import open_spool
from relay.store.spool.ports import Spool
from relay.store.tables import EventRecord, Queue
from tests.faults import patient
from tests.faults.checker import Causes, Checker, Verdict
from tests.faults.client import LARGE, MEDIUM, SMALL, Client, Hook, Transaction, read_log
from tests.faults.next_hop import NextHop
from tests.servers.clamd import Clamd
from tests.servers.processes import command_line, descendants
from tests.stories.house import PASS, House, house, parts, until

LEASE_SECONDS = 4
"""After a kill nobody on PostgreSQL knows at once that the lease is of a dead process."""
LOOK_SECONDS = 0.1
"""Between two looks into the store, each of which opens it anew."""
TRIES = 5
"""Of a client where scans are given up soon: on a machine so busy that it hears more of them, no test tells anything."""
FOR_GOOD = 500
"""A reply from here on is no invitation to come again."""
Result = TypeVar("Result")
QUEUE = Queue.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
HELD = "held@court.example"
DESK = "desk@court.example"
CLERKS = ("clerk@court.example", "registry@court.example", "judge@court.example")
RULES = PASS + (
    f"  - {{name: wait, when: {{recipient: [{HELD}]}}, then: hold, because: the court moves}}\n"
    f"  - {{name: look, when: {{recipient: [{DESK}]}}, then: quarantine, because: somebody looks at it}}\n"
)
REFUSED = b"Refused"
"""A subject that policy refuses when all of the message was read."""
RULES += f"  - {{name: refuse, when: {{subject_contains: [{REFUSED.decode()}]}}, then: reject, because: nobody wants it}}\n"
POLICY = {"rules/pass.yaml": RULES, "inspection.yaml": "outbound: [yara, type, archive, clamd]\n"}
ENDS = {HELD: State.HELD, DESK: State.QUARANTINED}
"""What the policy says of a recipient; delivered is all else."""


class Stand:
    """`home` is the next hop of the inside, where notices go; `hop` that of the outside. `causes` are why a delivery may end otherwise than
    policy says: what a person has asked for, what was harmed on purpose. `store` is as the relay uses it, `owner` as the owner of its
    tables does. `rng` decides what is left to chance."""

    def __init__(
        self,
        sluis: House,
        store: Store,
        owner: Store | None,
        hop: NextHop,
        home: NextHop,
        client: Client,
        rng: Random,
        module: str,
        tries: int,
    ) -> None:
        self.house = sluis
        self.store = store
        self.owner = owner or store
        self.hop = hop
        self.home = home
        self.client = client
        self.rng = rng
        self.causes = Causes()
        self._module = module
        self._tries = tries

    def recipients(self) -> list[str]:
        """One to three, at least one of them delivered to."""
        others = self.rng.sample([HELD, DESK, *CLERKS[1:]], self.rng.randrange(3))
        return [CLERKS[0], *others]

    def compose(self, recipients: Sequence[str] = (), size: int = 0) -> Transaction:
        """A message for these recipients and of this size, or as chance has it."""
        return self.client.compose(recipients or self.recipients(), size or self.rng.choice([SMALL, SMALL, MEDIUM, LARGE]))

    async def send(
        self, recipients: Sequence[str] = (), size: int = 0, before_dot: Hook | None = None, after_dot: Hook | None = None
    ) -> Transaction:
        """One transaction with such a message; what came of it is in the transaction."""
        return await self.client.send(self.house.port(), self.compose(recipients, size), before_dot, after_dot)

    async def start(self) -> None:
        """The relay again, after a kill."""
        await self.house.start(module=self._module)

    async def kill(self) -> None:
        """SIGKILL, also where it was stopped."""
        await self.house.kill()

    async def until_dead(self) -> int:
        """Waits until the relay's process has ended; gives its exit status, below zero for a signal."""
        async with asyncio.timeout(60):
            return await self.house.relay.wait()

    @property
    def running(self) -> bool:
        """Whether the relay's process is there."""
        process = self.house.relay._process
        return process is not None and process.returncode is None

    def processes(self) -> dict[str, int]:
        """Where there are several: those that the parent has started, by name."""
        return parts(self.house.pid)

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """The store, for a look. Nothing stays open: the relay that starts after a crash must be the first to open what the crash left, and
        recover it. Of an SQLite store whose relay is dead it is a copy."""
        database = sqlite_path(self.store)
        with tempfile.TemporaryDirectory(prefix="sluis-look-") as folder:
            store = self.store
            if database is not None and not self.running:
                for path in (database, database.with_name(database.name + "-wal")):
                    if path.exists():
                        shutil.copy(path, folder)
                store = Store(url=f"sqlite:///{folder}/{database.name}")
            engine = open_engine(store)
            try:
                yield engine
            finally:
                engine.dispose()

    def look(self, work: Callable[[Connection], Result]) -> Result:
        """What the store says now."""
        with self.engine() as engine, engine.connect() as connection:
            return work(connection)

    async def hurry(self) -> None:
        """What rests for a minute because the store or the spool was broken, is tried again at once."""
        if self.queued():
            await self.house.sluis("queue", "retry", "--all", "--reason", "the disk is well again")

    async def settle(self, seconds: float = 90) -> None:
        """Waits until nothing is in the queue: all that can leave has left, the rest waits for a phase or a person."""
        await until(
            lambda: not self.queued(), lambda: f"an empty queue: {self.queued()}\n{self.house.log()[-3000:]}", seconds, LOOK_SECONDS
        )

    def queued(self) -> list[Any]:
        """The rows of the queue."""
        return self.look(lambda connection: list(connection.execute(select(QUEUE))))

    def rows_of(self, transaction: Transaction) -> list[Any]:
        """The deliveries of a message, found by its digest, for the client may not have heard its id."""
        rows = self.look(lambda connection: find(connection, Search(), None, 200))
        return [row for row in rows if row.m_digest == transaction.digest]

    def kinds_of(self, transaction: Transaction) -> list[str]:
        """The kinds of the events about a message, oldest first."""
        return [event["kind"] for event in self.events_of(transaction)]

    def events_of(self, transaction: Transaction) -> list[dict[str, Any]]:
        """The events about a message, oldest first."""
        identities = {row.message_id for row in self.rows_of(transaction)}
        query = select(RECORD.c.canonical).where(RECORD.c.message_id.in_(identities)).order_by(RECORD.c.event_id)
        return [json.loads(row) for row in self.look(lambda connection: list(connection.execute(query).scalars()))]

    @contextmanager
    def held(self, stage: str) -> Iterator[None]:
        """The next hop keeps its replies at a stage to itself, until the end of the block."""
        release = self.hop.hold(stage)
        try:
            yield
        finally:
            release()

    @contextmanager
    def workers_stopped(self) -> Iterator[None]:
        """The inspect workers stand still, until the end of the block."""
        pids = [pid for pid in descendants(self.house.pid) if any("inspect_worker" in word for word in command_line(pid))]
        assert pids, "no worker was found"
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    async def release(self, transaction: Transaction, ordinal: int) -> int:
        """A person releases one delivery of a message that was accepted; gives the exit code of the command."""
        assert transaction.id is not None
        self.causes.released.add((transaction.id, ordinal))
        said = await self.house.sluis("quarantine", "release", f"{transaction.id.hex}/{ordinal}", "--reason", "it was looked at")
        return said.code

    async def again(self, caught: Iterable[Transaction]) -> int:
        """A client that heard no 250 and no refusal for good sends once more; gives how many were in custody already. For a test that has
        put right what it broke: what is sent now must be accepted, but for what policy refuses; at once, unless the stand has time-outs
        that are short for the sake of the fault, and too short for a busy machine (`tries`)."""
        adopted = 0
        for transaction in caught:
            if transaction.heard_250 or (transaction.reply is not None and transaction.reply.code >= FOR_GOOD):
                continue
            known = {row.message_id for row in self.rows_of(transaction)}
            for _ in range(self._tries):
                repeated = await self.client.send(self.house.port(), self.client.again(transaction))
                if repeated.reply is None or repeated.heard_250 or repeated.reply.code >= FOR_GOOD:
                    break
            refused = repeated.reply is not None and repeated.reply.code >= FOR_GOOD and b"Subject: " + REFUSED in repeated.raw
            assert repeated.heard_250 or refused, f"the damage is undone, and the client hears {repeated.reply}"
            adopted += repeated.id in known
        return adopted

    def trace_file(self) -> Path:
        """For strace to write to."""
        return self.house.folder / f"strace.{len(list(self.house.folder.glob('strace.*')))}"

    def spool_names(self) -> list[str]:
        """The bodies that lie in the spool."""
        if load_settings(self.house.config).spool.s3 is not None:
            with closing(self.spool()) as spool:
                return list(spool.names())
        return [path.name for path in (self.house.folder / "spool").glob("*/*")]

    def spool(self) -> Spool:
        """The spool as the relay sees it, with its private key; the caller closes it."""
        return open_spool(load_settings(self.house.config).spool, RelaxedBodyHash)

    def check(self) -> Verdict:
        """What the promises say of all that happened until now."""
        spool = self.spool()
        copies = [*self.hop.copies, *self.home.copies]
        causes = replace(self.causes, refused=self.hop.refused())
        try:
            with self.engine() as engine:
                return Checker(engine, spool, read_log(self.client.path), copies, ENDS.get, causes).verdict()
        finally:
            spool.close()


@asynccontextmanager
async def stand(
    folder: Path,
    store: Store,
    clamd: Clamd,
    *,
    seed: int,
    owner: Store | None = None,
    settings: Mapping[str, Any] | None = None,
    policy: Mapping[str, str] | None = None,
    module: str = "relay",
    tries: int = 1,
) -> AsyncIterator[Stand]:
    """A relay that is running. `settings` and `policy` are put over those of the stand, as those of a `house`; `module` is the program;
    `tries` is how often a client that sends again may hear a 4xx. At
    the end the relay must be able to stop, no bug may be in its log, and the balance must hold."""
    rng = Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    given = settings or {}
    delivery = {"lease": LEASE_SECONDS, **patient.DELIVERY, **given.get("delivery", {})}
    changes = {"clamd": {"socket": str(clamd.socket)}, **given, "delivery": delivery}
    rules = {**POLICY, **(policy or {})}
    async with (
        NextHop(store) as hop,
        NextHop(store) as home,
        house(folder, store, outside=hop.port, inside=home.port, policy=rules, settings=changes, module=module) as sluis,
    ):
        yield Stand(sluis, store, owner, hop, home, Client(folder / "client.log", rng), rng, module, tries)
