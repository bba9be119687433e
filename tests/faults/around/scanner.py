"""clamd killed, hung, answering garbage, cut short: between it and the relay stands a meddler that passes on, or does not.

What no scanner has judged does not leave: the client hears 451, and what is in custody waits.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from tests.faults.around.play import Fault, deferred, prove
from tests.faults.client import LARGE, Transaction
from tests.faults.stand import CLERKS, LOOK_SECONDS, RULES, TRIES, Stand
from tests.servers.clamd import Clamd
from tests.stories.house import until

QUICK_SCAN = {"connect_timeout": 3, "deadline": 3}
"""Settings of clamd under which one that hangs is given up soon. What must be scanned in that time is sent again if it was not."""
LATER = 451
GARBAGE = (
    b"\0",
    b"stream: \0",
    b"OK",
    b"stream: O",
    b"1: stream: NOT OK\0",
    b"\xff\xfe" * 40,
    b"stream: OK" * 2000,
    b"PONG\0",
    b"UNKNOWN COMMAND\0",
)
"""No answer to an INSTREAM that says OK; what only says it half, or to another question, is none."""


class Meddler:
    """A unix socket before clamd's. `mode`: `pass`; `gone` (takes no connection); `close` (ends each at once); `mute` (takes everything
    and never answers); `cut-in` and `cut-out` (ends amid what comes in, amid the answer); `garbage`. `met` counts connections that were
    not passed on whole."""

    def __init__(self, clamd: Path, rng: Random) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sluis-meddler-"))
        self.socket = self.folder / "clamd.sock"
        self.met = 0
        self._clamd = clamd
        self._rng = rng
        self._mode = "pass"
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def set(self, mode: str) -> None:
        """From now on: the relay keeps a connection for many messages, and those that are open end."""
        self._mode = mode
        if mode == "gone":
            await self._stop()
            return
        await self._end()
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._connected, self.socket)

    async def close(self) -> None:
        await self._stop()
        shutil.rmtree(self.folder)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.socket.unlink(missing_ok=True)
        await self._end()

    async def _end(self) -> None:
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._meddle(reader, writer)
        finally:
            self._running.discard(task)
            writer.transport.abort()

    async def _meddle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "pass":
            await self._pass(reader, writer, None)
            return
        self.met += 1
        if self._mode == "mute":
            while await reader.read(2**16):
                pass
            await asyncio.Event().wait()
        elif self._mode == "cut-in":
            await reader.read(self._rng.randrange(1, 2**14))
        elif self._mode == "cut-out":
            await self._pass(reader, writer, self._rng.randrange(1, 9))  # `stream: OK` has eleven octets with its end
        elif self._mode == "garbage":
            await reader.read(2**16)
            writer.write(self._rng.choice(GARBAGE))
            await writer.drain()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
        """Of the answers, at most so many octets."""
        there, back = await asyncio.open_unix_connection(self._clamd)

        async def forward() -> None:
            while data := await reader.read(2**16):
                back.write(data)
                await back.drain()

        forwarding = asyncio.create_task(forward())
        try:
            while data := await there.read(2**16):
                writer.write(data if most is None else data[:most])
                await writer.drain()
                if most is not None:
                    return
        finally:
            forwarding.cancel()
            back.transport.abort()


@asynccontextmanager
async def meddler(clamd: Path, rng: Random) -> AsyncIterator[Meddler]:
    """One that passes everything on, at first."""
    between = Meddler(clamd, rng)
    await between.set("pass")
    try:
        yield between
    finally:
        await between.close()


def at_accept(between: Meddler, mode: str) -> Fault:
    """The scanner fails while a message comes in: its client hears 451."""

    async def fault(at: Stand) -> list[Transaction]:
        before = between.met
        await between.set(mode)
        try:
            transaction = await at.send([CLERKS[0]])
        finally:
            await between.set("pass")
        prove(mode == "gone" or between.met > before, "the scanner was not asked")
        prove(transaction.reply is not None and transaction.reply.code == LATER, f"it heard {transaction.reply}")
        prove(not at.rows_of(transaction) or at.rows_of(transaction)[0].state == "refused", "it is in custody")
        return [transaction]

    return fault


async def _taken(at: Stand) -> Transaction:
    """A large message that was accepted. The scan of one before may have come too late."""
    for _ in range(TRIES):
        transaction = await at.send([CLERKS[0]], LARGE)
        if transaction.heard_250:
            break
    prove(transaction.heard_250, f"it was not accepted: {transaction.reply}")
    return transaction


def in_custody(between: Meddler, mode: str) -> Fault:
    """It fails while what was accepted is looked at again, because the policy has changed: it waits for the scanner."""

    async def fault(at: Stand) -> list[Transaction]:
        at.hop.behaviour.replies = {"MAIL": "451 4.3.0 Later"}
        try:
            transaction = await _taken(at)
            await until(lambda: deferred(at, transaction), "a first attempt", every=LOOK_SECONDS)
            before = between.met
            await between.set(mode)
            try:
                at.house.write_policy({"rules/pass.yaml": RULES + f"# another policy: {at.rng.getrandbits(64)}\n"})
                await at.house.reload()
                await until(lambda: [row.state for row in at.rows_of(transaction)] == ["undecided"], lambda: f"{at.rows_of(transaction)}")
                prove(mode == "gone" or between.met > before, "the scanner was not asked")
                prove(not [copy for copy in at.hop.copies if copy.id == transaction.id], "it has left")
            finally:
                await between.set("pass")
        finally:
            at.hop.behaviour.replies = {}
        return [transaction]

    return fault


def killed(clamd: Clamd) -> Fault:
    """SIGKILL to clamd itself while a message comes in."""

    async def fault(at: Stand) -> list[Transaction]:
        async def kill() -> None:
            clamd.kill()

        try:
            transaction = await at.send([CLERKS[0]], before_dot=kill)
        finally:
            clamd.socket.unlink(missing_ok=True)
            clamd.start()
        prove(transaction.reply is not None and transaction.reply.code == LATER, f"it heard {transaction.reply}")
        return [transaction]

    return fault


def suspended(clamd: Clamd) -> Fault:
    """SIGSTOP to clamd itself: the kernel takes connections, and nothing answers."""

    async def fault(at: Stand) -> list[Transaction]:
        clamd.suspend()
        try:
            transaction = await at.send([CLERKS[0]])
        finally:
            clamd.resume()
        prove(transaction.reply is not None and transaction.reply.code == LATER, f"it heard {transaction.reply}")
        return [transaction]

    return fault


MODES = ("gone", "close", "mute", "cut-in", "cut-out", "garbage")


def scanner(between: Meddler, clamd: Clamd) -> dict[str, Fault]:
    """All faults of a scanner. The clamd is one's own: it is killed."""
    return {
        **{f"clamd {mode} at accept": at_accept(between, mode) for mode in MODES},
        **{f"clamd {mode} in custody": in_custody(between, mode) for mode in ("gone", "mute", "garbage")},
        "clamd killed": killed(clamd),
        "clamd suspended": suspended(clamd),
    }


FEW = (
    *(f"clamd {mode} at accept" for mode in ("gone", "mute", "cut-out", "garbage")),
    "clamd mute in custody",
    "clamd killed",
    "clamd suspended",
)
"""For `make test`; what is no answer is shown by tests/stages/inspect/test_clamd.py."""
