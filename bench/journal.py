"""What a message costs the record: taken, marked, concluded. `python -m bench.journal [--beside CHECKOUT]` prints it.

Processor time and statements a message, in commits of five messages and of one. No body, no socket: only rows, events, statements,
commits, and the way from the event loop to the journal's thread and back, with a commit without work before each, so that those who share
one are known. With `--beside` the code of another checkout takes turns with this one.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from relay.model.address import Mailbox
from relay.model.client import Peer, Side
from relay.model.decision import Decision, Disposition, Epoch, Verdict
from relay.model.delivery import State
from relay.model.envelope import Envelope, Recipient, Sender
from relay.model.features import Attachment, Header, Inspection
from relay.model.ids import new_id
from relay.model.message import Adopted, Body, Claimed, Decided, Inspected, Outcome, Received, Signed
from relay.phases import change
from relay.phases import state as phase_state
from relay.record import Record
from relay.record.first_claims import Lease
from relay.settings.models import Store
from relay.store import schema
from relay.store.engine import open_engine
from relay.store.journal import Journal

MESSAGES = 500
ROUNDS = 5
TOGETHER = (5, 1)
HOUR_US = 3_600_000_000
PREFIX = b"Received: x\r\nDKIM-Signature: a\r\nDKIM-Signature: b\r\n"
PEER = Peer("inside", Side.INSIDE, "127.0.0.1", 40_000, "127.0.0.1", 25, helo="mail.load.test", esmtp=True)
VERSIONS = (("clamd", "ClamAV 1.0.7/27000"), ("yara", "1.2.0 " + "ab" * 8), ("type", "file 5.44"), ("archive", "1"))


class Clock:
    """The real time."""

    def now_us(self) -> int:
        return time.time_ns() // 1000


class NoSpool:
    """Bodies that cost nothing."""

    async def seal(self, body: Body, manifest: dict[str, Any]) -> str:
        return body.object


class Claims:
    """Takes every claim, as an idle dispatcher would."""

    def __init__(self) -> None:
        self.taken: list[Claimed] = []

    def reserve(self) -> Lease | None:
        return Lease("bench", Clock().now_us() + HOUR_US)

    def take(self, lease: Lease | None, claims: Sequence[Claimed], body: Body) -> None:
        self.taken.extend(claims)

    def release(self, lease: Lease | None) -> None:
        raise AssertionError("nothing is given back here")


def decided(number: int) -> Decided:
    """A text message to one recipient, as it comes from `decide`."""
    identity, digest = new_id(), os.urandom(32).hex()
    body = Body(identity.hex, 4100, digest, "PU4F6Dp1m2Tj1T0EGfh3u9TyoAEAJ/R4BdtEG9xXA0E=")
    envelope = Envelope(
        Sender(Mailbox(f"sender{number % 50}", "load.test"), size=4100), (Recipient(Mailbox(f"r{number % 997}", "court.test")),)
    )
    received = Received(
        identity, PEER, "mailserver", envelope, body, Clock().now_us(), vouched=True, authorised=True, receipt=os.urandom(32)
    )
    header = Header(
        ("a@load.test",), 1, "A", "", ("b@court.test",), "Report of today", f"<{number}@load.test>", "Fri, 27 Nov 2026 09:00:00 +0100"
    )
    names = tuple(name for name, _ in VERSIONS)
    inspection = Inspection(header, (Attachment("1", "", "text/plain", "text/plain", 3900, digest),), answered=names, versions=VERSIONS)
    return Decided(Inspected(received, inspection), Decision(Epoch("ab" * 32, "open"), (Verdict(Disposition.DELIVER, route="outside"),)))


class Bench:
    """One store with its journal and record."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(Store(url=url))
        schema.upgrade(self.engine)
        self.journal = Journal(self.engine)
        self.journal.start()
        self.journal.submit_now(lambda c: change.set_phase(c, "open", "bench", "the bench", Clock().now_us()))
        self.fences = self.journal.submit_now(lambda c: phase_state.read(c).fences)
        self.record = Record(self.journal, NoSpool(), Clock(), "relay.load.test", 432_000_000_000, 300_000_000)  # type: ignore[arg-type]
        self.claims = Claims()
        self.record.first_claims = self.claims

    async def together(self, works: Sequence[Callable[[], Awaitable[Any]]]) -> None:
        """All of them in one commit: the journal stands still until the last one is submitted."""
        loop = asyncio.get_running_loop()
        begun, go = asyncio.Event(), threading.Event()

        def stand_still(_: object) -> None:
            loop.call_soon_threadsafe(begun.set)
            go.wait()

        standing = asyncio.create_task(self.journal.submit(stand_still))
        await begun.wait()
        tasks = [asyncio.ensure_future(work()) for work in works]
        loop.call_soon(go.set)  # after the first step of each
        await asyncio.gather(standing, *tasks)

    async def accept(self, message: Decided) -> None:
        recorded = await self.record.accept(message, (State.READY,))
        assert not isinstance(recorded, Adopted)
        self.record.adoption.heard(message.inspected.received.receipt)

    async def conclude(self, claimed: Claimed) -> None:
        outcome = Outcome(0, State.DELIVERED, "2.0.0 Ok: queued", "2.0.0", "sink[127.0.0.1]:2600", prefix_sha256="ab" * 32)
        await self.record.outcomes(Signed(claimed, PREFIX), [outcome], {})

    async def run(self, messages: int, together: int) -> dict[str, float]:
        """Milliseconds of processor time a message: of the loop's thread, of the journal's thread, of the process."""
        waiting = [decided(number) for number in range(messages)]
        before = await self.times()
        for start in range(0, messages, together):
            self.claims.taken.clear()
            await self.together([lambda m=m: self.accept(m) for m in waiting[start : start + together]])  # type: ignore[misc]
            await self.together([lambda c=c: self.record.mark(c, self.fences) for c in self.claims.taken])  # type: ignore[misc]
            await self.together([lambda c=c: self.conclude(c) for c in self.claims.taken])  # type: ignore[misc]
        await self.record.adoption.flush()
        after = await self.times()
        return {name: (after[name] - before[name]) / messages * 1000 for name in before}

    async def times(self) -> dict[str, float]:
        journal = await self.journal.submit(lambda _: time.thread_time())
        return {"loop": time.thread_time(), "journal": journal, "process": time.process_time()}

    def statements(self, messages: int, together: int) -> float:
        """What SQLite runs for a message, one for each row: BEGIN and COMMIT too. Not where the store is another."""
        if self.engine.dialect.name != "sqlite":
            return float("nan")
        seen = 0

        def count(_: str) -> None:
            nonlocal seen
            seen += 1

        self.journal.submit_now(lambda c: c.connection.driver_connection.set_trace_callback(count))  # type: ignore[union-attr]
        asyncio.run(self.run(messages, together))
        self.journal.submit_now(lambda c: c.connection.driver_connection.set_trace_callback(None))  # type: ignore[union-attr]
        return seen / messages

    def close(self) -> None:
        self.journal.close()
        self.engine.dispose()


def once(url: str) -> dict[str, dict[str, float]]:
    """A round, by how many messages shared a commit."""
    bench = Bench(url)
    found = {}
    for together in TOGETHER:
        asyncio.run(bench.run(100, together))
        found[str(together)] = asyncio.run(bench.run(MESSAGES, together)) | {"statements": bench.statements(60, together)}
    bench.close()
    return found


def round_of(checkout: Path, url: str | None) -> dict[str, dict[str, float]]:
    """The same by the code of a checkout, in a process and a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--once", url or f"sqlite:///{folder}/bench.db"]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(done.stdout)  # type: ignore[no-any-return]


def main() -> None:
    """The least of some rounds: the one that others disturbed least."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path, action="append", default=[], help="another checkout, measured in turns with this one")
    parser.add_argument("--store", help="URL of an empty database; else SQLite files that are thrown away")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--once", metavar="URL", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        print(json.dumps(once(asked.once)))
        return
    checkouts = [Path(__file__).resolve().parents[1], *asked.beside]
    rounds = [{checkout: round_of(checkout, asked.store) for checkout in checkouts} for _ in range(asked.rounds)]
    print(f"{'checkout':30} {'in a commit':>11} {'loop ms':>8} {'journal ms':>10} {'process ms':>10} {'statements':>10}")
    for together in map(str, TOGETHER):
        for checkout in checkouts:
            least = {name: min(one[checkout][together][name] for one in rounds) for name in rounds[0][checkout][together]}
            row = f"{least['loop']:8.3f} {least['journal']:10.3f} {least['process']:10.3f} {least['statements']:10.1f}"
            print(f"{str(checkout)[-30:]:30} {together:>11} {row}")


if __name__ == "__main__":
    main()
