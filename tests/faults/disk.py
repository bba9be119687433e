"""Faults of the disk: one call on one file answers EIO or ENOSPC while a message is on its way; then the disk is well again."""

import asyncio
import contextlib
import re
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from relay.store.engine import sqlite_path
from relay.store.high_water import Mark
from relay.store.spool.folder_pack import SUFFIX, UNFINISHED
from relay.store.spool.format import BODY_START, body_length
from tests.faults.bombs import prove
from tests.faults.client import LARGE, SMALL, Transaction
from tests.faults.packs import MAKE, TOGETHER, about_to_be_packed, frozen_when, in_packs
from tests.faults.stand import CLERKS, FOR_GOOD, REFUSED, Stand
from tests.faults.strace import Inject, NotInWindow, Trace, thaw, traced
from tests.servers.clamd import Clamd
from tests.servers.processes import ended
from tests.stories.house import until

CREATING, PACKING, RECEIVING, SEALING, WIPING = "creating", "packing", "receiving", "sealing", "wiping"
LEAVING, CONCLUDING, BOUNCING = "leaving", "concluding", "bouncing"
FILLING, NAMING, REWRAPPING, MARKING, CHECKPOINT = "filling", "naming", "rewrapping", "marking", "checkpoint"
"""Where the message is when the disk breaks: its file is about to be made; several small ones are about to be sealed;
several are about to be written into one file; they are in it, and it is about to get its name; the final dot is not here yet; it
is inspected, and not sealed; it is refused, and its key is about to be wiped; its content is about to leave; the next hop has it, and has
not said so; the same, and it has refused one of two recipients, whose sender is about to be told; it waits, and its key is wrapped to a
new one; it is in the store, whose mark is about to be moved; at any time, while SQLite moves its log into its file."""
BODY, PACK, FOLDER, SPOOL, MARK, WAL, DATABASE, ANY = "body", "pack", "folder", "spool", "mark", "wal", "database", "file that is made"
MOST_SENT = 400
FOLDER_SECONDS = 2**24 / 1000
"""For so long bodies come into one folder: the first 6 of the 12 digits of milliseconds that a UUIDv7 begins with name it (RFC 9562)."""
ROUND_SECONDS = 20.0
MARK_UNWRITTEN = "high-water-unwritable"


@dataclass(frozen=True)
class DiskFault:
    """`file` is one of the eight above, `call` a system call on it. `dies`: the process must end itself, for nobody knows what is on the
    disk. `says` is what the reply or the log must tell."""

    stage: str
    file: str
    call: str
    error: str
    when: str = "1"
    dies: bool = False
    says: str = ""

    def __str__(self) -> str:
        which = "" if self.when == "1" else f" ({self.when})"
        return f"{self.stage}: {self.error} at {self.call}{which} of the {self.file}"


@dataclass(frozen=True)
class Seen:
    """What came of it: `failed` are strace's lines of the calls that failed, `log` what the relay has logged since."""

    transactions: list[Transaction]
    failed: list[str]
    log: str
    died: bool


async def break_disk(at: Stand, clamd: Clamd, fault: DiskFault) -> Seen:
    """Raises NotInWindow where the fault hit nothing. The relay may be dead when this returns."""
    before, first = len(at.house.log()), len(at.client.log)
    stages = {
        CREATING: _creating,
        PACKING: _packing,
        FILLING: _filling,
        NAMING: _naming,
        RECEIVING: _receiving,
        SEALING: _sealing,
        WIPING: _sealing,
        LEAVING: _leaving,
        CONCLUDING: _leaving,
        BOUNCING: _bouncing,
        REWRAPPING: _rewrapping,
        MARKING: _marking,
        CHECKPOINT: _checkpoint,
    }
    failed = await stages[fault.stage](at, clamd, fault)
    if ended(at.house.pid):
        await at.until_dead()
    return Seen(at.client.log[first:], failed, at.house.log()[before:], not at.running)


def told_wrong(fault: DiskFault, seen: Seen) -> list[str]:
    """What is wrong with what came of it, beside the promises."""
    wrong = []
    if seen.died is not fault.dies:
        wrong.append("the process went on" if fault.dies else "the process ended")
    replies = [transaction.reply for transaction in seen.transactions[fault.stage == PACKING :]]  # without the one before
    told = seen.log + "".join(f"{reply.code} {reply.text}\n" for reply in replies if reply)
    if not re.search(fault.says, told):
        wrong.append(f"nobody says {fault.says}: {told[-1500:]}")
    if fault.stage == WIPING and not fault.dies and not all(reply is not None and reply.code >= FOR_GOOD for reply in replies):
        wrong.append(f"what policy refuses was not refused: {replies}")
    if fault.stage in (CREATING, PACKING, RECEIVING, SEALING):
        if any(reply is not None and reply.code < 400 for reply in replies):
            wrong.append("the client heard 250")
        if not fault.dies and None in replies:
            wrong.append("the client heard nothing")
    if fault.stage in (FILLING, NAMING) and sum(reply is None or reply.code >= 400 for reply in replies) < 2:
        wrong.append(f"no several were refused, or heard nothing: {replies}")
    if '"traceback"' in seen.log:
        wrong.append(f"a traceback: {seen.log[-3000:]}")
    return wrong


@asynccontextmanager
async def _armed(at: Stand, fault: DiskFault, body: str = "") -> AsyncIterator[Trace]:
    inject = Inject((fault.call,), f"error={fault.error}", fault.when)
    paths = [] if fault.file == ANY else [_path(at, fault.file, body)]
    async with traced([at.house.pid], inject, output=at.trace_file(), paths=paths) as trace:
        yield trace


def _path(at: Stand, file: str, body: str) -> Path:
    if file in (WAL, DATABASE):
        database = sqlite_path(at.store)
        assert database is not None
        return database.with_name(database.name + "-wal") if file == WAL else database
    spool = at.house.folder / "spool"
    if file == MARK:
        return spool / f"{Mark(socket.gethostname(), uuid.UUID(int=0)).name}.{at.house.pid}.new"
    return {BODY: spool / body[:6] / body, PACK: spool / body[:6] / f"{body}{SUFFIX}", FOLDER: spool / body[:6], SPOOL: spool}[file]


async def _over(at: Stand, fault: DiskFault, trace: Trace) -> list[str]:
    """Waits until the fault has hit, and until the process has drawn its conclusion where that is its end. Raises NotInWindow."""
    try:
        await trace.until_injected()
    except AssertionError as error:
        raise NotInWindow(str(error)) from None
    if fault.dies:
        await _its_end(trace)
    return trace.injected()


async def _its_end(trace: Trace) -> None:
    """If it went on, the test says so."""
    with contextlib.suppress(AssertionError):
        await trace.until_ended()


async def _same_folder() -> None:
    """Where the bodies of the next moments come into another folder, they are waited for."""
    left = FOLDER_SECONDS - time.time() % FOLDER_SECONDS
    if left < ROUND_SECONDS:
        await asyncio.sleep(left)


async def _new_body(at: Stand, known: set[str]) -> str:
    await until(lambda: set(at.spool_names()) - known, "a body in the spool")
    (name,) = set(at.spool_names()) - known
    return name


async def _new_pack(at: Stand, known: set[str]) -> str:
    """Several messages that heard 250, in one file."""
    transactions = [at.compose([CLERKS[0]], SMALL) for _ in range(TOGETHER)]
    async with about_to_be_packed(at, transactions):
        thaw(at.house.pid)
    assert all(transaction.heard_250 for transaction in transactions)
    packs = {name: bodies for name, bodies in in_packs(at, SUFFIX).items() if f"{name}{SUFFIX}" not in known}
    prove(max(packs.values(), default=0) > 1, f"no file of several bodies: {packs}")
    return max(packs, key=lambda name: packs[name])


async def _creating(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    """The file of a small message is made when all of it is here. No name is known before: whatever is opened then can't be."""
    async with contextlib.AsyncExitStack() as stack:
        traces: list[Trace] = []

        async def arm() -> None:
            traces.append(await stack.enter_async_context(_armed(at, fault)))

        await at.send([CLERKS[0]], SMALL, before_dot=arm)
        failed = await _over(at, fault, traces[0])
        made = any(f"{at.house.folder / 'spool'}/" in line and "O_EXCL" in line for line in failed)
        prove(made, f"no body was about to be made: {failed}")
        return failed


async def _packing(at: Stand, clamd: Clamd, fault: DiskFault) -> list[str]:
    """A scanner that hangs holds several small messages, which are then sealed one by one or together, in the folder of one before."""
    await _same_folder()
    assert (await at.send([CLERKS[0]], SMALL)).heard_250
    newest = max(at.spool_names())
    transactions = [at.compose([CLERKS[0]], SMALL) for _ in range(TOGETHER)]
    clamd.suspend()
    sending = [asyncio.create_task(at.client.send(at.house.port(), transaction)) for transaction in transactions]
    try:
        await until(lambda: all(transaction.dot for transaction in transactions), "the final dots")
        async with _armed(at, fault, newest) as trace:
            clamd.resume()
            failed = await _over(at, fault, trace)
            await asyncio.gather(*sending)
    finally:
        clamd.resume()
        await asyncio.gather(*sending)
    return failed


async def _naming(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    """Of several that are sealed together."""
    transactions = [at.compose([CLERKS[0]], SMALL) for _ in range(TOGETHER)]
    async with contextlib.AsyncExitStack() as stack:
        async with about_to_be_packed(at, transactions):
            trace = await stack.enter_async_context(_armed(at, fault))
            thaw(at.house.pid)
        if fault.dies:
            await _its_end(trace)
        failed = [line for line in trace.injected() if ".pack" in line]
    prove(bool(failed), f"no pack was about to be named: {trace.injected()}")
    return failed


async def _filling(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    """The file of several has just been made, and nothing is in it yet."""

    def new() -> set[Path]:
        return set((at.house.folder / "spool").glob(f"*/*{UNFINISHED}")) - before

    before: set[Path] = set()
    before = new()  # what kills have left
    transactions = [at.compose([CLERKS[0]], SMALL) for _ in range(TOGETHER)]
    async with contextlib.AsyncExitStack() as stack:
        async with about_to_be_packed(at, transactions):
            await frozen_when(at, lambda: bool(new()), MAKE)
            inject = Inject((fault.call,), f"error={fault.error}", fault.when)
            trace = await stack.enter_async_context(traced([at.house.pid], inject, output=at.trace_file(), paths=sorted(new())))
            thaw(at.house.pid)
        return await _over(at, fault, trace)


async def _receiving(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    known = set(at.spool_names())
    async with contextlib.AsyncExitStack() as stack:
        traces: list[Trace] = []

        async def arm() -> None:
            traces.append(await stack.enter_async_context(_armed(at, fault, await _new_body(at, known))))

        await at.send([CLERKS[0]], LARGE, before_dot=arm)
        return await _over(at, fault, traces[0])


async def _sealing(at: Stand, clamd: Clamd, fault: DiskFault) -> list[str]:
    """A scanner that hangs for a moment holds the message between its last byte and its seal."""
    known = set(at.spool_names())
    transaction = at.compose([CLERKS[0]], LARGE)
    if fault.stage == WIPING:
        transaction.raw = transaction.raw.replace(b"Subject: Case", b"Subject: " + REFUSED)
    clamd.suspend()
    sending = asyncio.create_task(at.client.send(at.house.port(), transaction))
    try:
        body = await _new_body(at, known)
        whole = BODY_START + body_length(len(transaction.raw))
        await until(lambda: _path(at, BODY, body).stat().st_size == whole, "the whole body")
        async with _armed(at, fault, body) as trace:
            clamd.resume()
            failed = await _over(at, fault, trace)
            if not fault.dies:
                await sending
    finally:
        clamd.resume()
        await sending
    return failed


async def _leaving(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    known = set(at.spool_names())
    stage = "DATA" if fault.stage == LEAVING else "DOT"
    release = at.hop.hold(stage)
    try:
        await at.send([CLERKS[0]], LARGE)
        await at.hop.until_held(stage)
        async with _armed(at, fault, await _new_body(at, known)) as trace:
            release()
            failed = await _over(at, fault, trace)
            if not fault.dies:
                await until(lambda: not any(row.owner for row in at.queued()), "the end of the attempt")
            return failed
    finally:
        release()


async def _bouncing(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    """The bounce finds no room, and is written later; what became of the other recipient is in the record all the same."""
    release = at.hop.hold("DOT")
    at.hop.behaviour.replies = {CLERKS[1]: "550 5.1.1 No such mailbox"}
    try:
        transaction = await at.send(CLERKS[:2], SMALL)
        await at.hop.until_held("DOT")
        async with _armed(at, fault) as trace:
            release()
            failed = await _over(at, fault, trace)
            await until(lambda: not any(row.owner for row in at.queued()), "the end of the attempt")
        assert [row.state for row in at.rows_of(transaction)] == ["delivered", "ready"], at.rows_of(transaction)
        await at.hurry()
        await at.settle()
        return failed
    finally:
        release()
        at.hop.behaviour.replies = {}


async def _rewrapping(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    """A person rotates the spool's key while a message waits for its next attempt, or several do that are in one file."""
    known = set(at.spool_names())
    at.hop.behaviour.replies = {"MAIL": "451 4.3.0 Later"}
    try:
        if fault.file == PACK:
            body = await _new_pack(at, known)
        else:
            assert (await at.send([CLERKS[0]], LARGE)).heard_250
            body = await _new_body(at, known)
        async with _armed(at, fault, body) as trace:
            said = await at.house.sluis("keys", "spool", "rotate", "--reason", "it is time")
            assert said.code != 0, "nobody was told that a body has its old key"
            return await _over(at, fault, trace)
    finally:
        at.hop.behaviour.replies = {}


async def _marking(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    """The mark stays where it was, and is moved when the disk is well again."""
    mark = _path(at, MARK, "").with_suffix("").with_suffix("")
    await until(mark.exists, "a first mark")
    said = at.house.log().count(MARK_UNWRITTEN)
    async with _armed(at, fault) as trace:
        before = mark.stat().st_mtime_ns
        assert (await at.send([CLERKS[0]], SMALL)).heard_250
        failed = await _over(at, fault, trace)
        await until(lambda: at.house.log().count(MARK_UNWRITTEN) > said, "an alert")
    await until(lambda: mark.stat().st_mtime_ns != before, "a mark that is moved again")
    return failed


async def _checkpoint(at: Stand, _: Clamd, fault: DiskFault) -> list[str]:
    async with _armed(at, fault) as trace:
        for _number in range(MOST_SENT):
            await at.send([CLERKS[0]], SMALL)
            if trace.injected() or ended(at.house.pid):
                break
        return await _over(at, fault, trace)
