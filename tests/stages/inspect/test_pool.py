"""The pool: a verdict for each message, whatever becomes of the worker; and real workers with a real clamd."""

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import zipfile
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from relay.inspect.pool import InspectJob, InspectPool, WorkerFailed
from relay.model.features import Inspection
from relay.model.finding import Finding, Kind
from relay.settings.models import Clamd as ClamdSettings
from relay.settings.models import Spool as SpoolSettings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.spool.folder import FolderSpool
from relay.store.spool.keys import new_keypair
from tests.servers.clamd import EICAR, SUFFIX, TEST_SIGNATURE, Clamd, running_clamd
from tests.stages.authenticate.signed import body_hash, read, signed
from tests.stages.inspect.workers import MISBEHAVING, job, pool, run

PLAIN = b"From: jan@example.nl\r\nSubject: Hoi\r\n\r\nBeste Piet,\r\n"
EVIL = PLAIN + EICAR + b"\r\n"


def clamd_at(clamd: Clamd, deadline: float = 20) -> ClamdSettings:
    return ClamdSettings(socket=clamd.socket, connect_timeout=2, deadline=deadline)


async def say(workers: InspectPool, action: str) -> Inspection:
    return await workers.inspect(job(action.encode()))


def kinds(inspection: Inspection) -> list[tuple[Kind, str]]:
    return [(finding.kind, finding.name) for finding in inspection.findings]


# real workers


def test_a_plain_message_is_clean_by_every_inspector_that_answered(clamd: Clamd) -> None:
    async def dialogue() -> None:
        async with pool(clamd=clamd_at(clamd)) as workers:
            inspection = await workers.inspect(job(PLAIN))
            assert (inspection.findings, inspection.unavailable) == ((), ())
            assert sorted(inspection.answered) == ["archive", "clamd", "personal", "type", "yara"]
            assert inspection.header.from_addresses == ("jan@example.nl",)
            assert [(part.part, part.true_type) for part in inspection.attachments] == [("1", "text/plain")]
            versions = dict(inspection.versions)
            assert versions["clamd"].startswith("ClamAV ")
            assert versions["type"].startswith("libmagic ")
            assert workers.status() == {}

    run(dialogue)


def test_malware_is_found_by_both_scanners(clamd: Clamd) -> None:
    async def dialogue() -> None:
        async with pool(clamd=clamd_at(clamd)) as workers:
            inspection = await workers.inspect(job(EVIL))
            assert kinds(inspection) == [(Kind.MALWARE, "Sluis.Eicar" + SUFFIX), (Kind.MALWARE, "eicar")]

    run(dialogue)


def test_one_message_never_hears_the_verdict_of_another(clamd: Clamd) -> None:
    async def dialogue() -> None:
        async with pool(clamd=clamd_at(clamd), workers=2) as workers:
            bodies = [PLAIN + b"%d\r\n" % number + (TEST_SIGNATURE if number % 3 == 0 else b"") for number in range(60)]
            answers = await asyncio.gather(*(workers.inspect(job(body)) for body in bodies))
            assert [bool(answer.findings) for answer in answers] == [number % 3 == 0 for number in range(60)]

    run(dialogue)


def test_a_clamd_that_is_down_at_the_start_keeps_no_worker_from_starting_and_is_used_when_it_comes() -> None:
    with running_clamd() as clamd:
        clamd.stop()

        async def dialogue() -> None:
            async with pool(clamd=clamd_at(clamd)) as workers:
                assert list(workers.status()) == ["clamd"]
                inspection = await workers.inspect(job(EVIL))
                assert inspection.unavailable == ("clamd",)
                assert "clamd" not in inspection.answered
                assert kinds(inspection) == [(Kind.MALWARE, "eicar")]
                await asyncio.to_thread(clamd.start)
                inspection = await workers.inspect(job(EVIL))
                assert inspection.unavailable == ()
                assert len(inspection.findings) == 2
                assert workers.status() == {}

        run(dialogue)


def test_a_clamd_that_hangs_is_unavailable_and_the_worker_lives_on() -> None:
    with running_clamd() as clamd:

        async def dialogue() -> None:
            async with pool(clamd=clamd_at(clamd, deadline=1), deadline=30) as workers:
                clamd.suspend()
                inspection = await workers.inspect(job(PLAIN))
                assert (inspection.unavailable, inspection.findings) == (("clamd",), ())
                await asyncio.to_thread(clamd.resume)
                while (await workers.inspect(job(PLAIN))).unavailable:
                    pass  # on a busy machine it does not answer in a second each time
                assert (workers.killed, workers.crashes) == (0, 0)

        run(dialogue)


def test_a_worker_starts_while_clamd_hangs() -> None:
    with running_clamd() as clamd:
        clamd.suspend()

        async def dialogue() -> None:
            async with pool(clamd=clamd_at(clamd, deadline=0.5)) as workers:
                assert list(workers.status()) == ["clamd"]

        run(dialogue)


def test_memory_that_a_message_needs_beyond_the_limit_is_undecidable_and_the_next_one_is_inspected() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(400 * 1024 * 1024))
    encoded = base64.encodebytes(packed.getvalue()).replace(b"\n", b"\r\n")
    bomb = b"From: a@example.nl\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded

    async def dialogue() -> None:
        async with pool(memory=256 * 1024 * 1024, archive_ratio=100_000) as workers:
            assert kinds(await workers.inspect(job(bomb))) == [(Kind.LIMIT, "memory")]
            assert (await workers.inspect(job(PLAIN))).findings == ()

    run(dialogue)


def test_a_rule_that_does_not_compile_stops_the_start_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yar").write_text("rule bad {", encoding="utf-8")

    async def dialogue() -> None:
        async with pool(rules=tmp_path):
            pass

    with pytest.raises(WorkerFailed, match=r"bad\.yar"):
        run(dialogue)


def test_signatures_are_read_by_a_confined_worker_and_only_where_somebody_wants_them() -> None:
    message = signed(PLAIN, domain="example.nl")

    async def dialogue() -> None:
        async with pool() as workers:
            wanted = await workers.inspect(replace(job(message), body_hash=body_hash(message)))
            assert [(one.domain, one.selector, one.known) for one in wanted.signatures] == [("example.nl", "s1", "")]
            assert wanted.signatures == read(message)
            assert (await workers.inspect(job(message))).signatures == ()

    run(dialogue)


# a large body: its spool file and its key


def spool(folder: Path) -> FolderSpool:
    settings = SpoolSettings(folder=folder / "spool", public_key=folder / "spool.pub", private_keys=folder / "keys", memory_body=1)
    new_keypair(settings.public_key, folder / "keys")
    return FolderSpool(settings, RelaxedBodyHash, on_fatal=lambda reason: None)


def spooled(spool: FolderSpool, body: bytes) -> InspectJob:
    writer = spool.create(UUID(int=7))
    for start in range(0, len(body), 10_000):
        writer.write(body[start : start + 10_000])
    written = writer.finish(False)
    assert written.bytes is None
    return InspectJob(written.object, written.size, "relay.example.nl", path=spool.path(written.object), key=written.key)


def test_a_large_body_is_inspected_from_its_encrypted_file_by_descriptor_and_key(tmp_path: Path) -> None:
    with contextlib.closing(spool(tmp_path)) as store:
        large = spooled(store, PLAIN + b"tekst\r\n" * 300_000 + EICAR)

        async def dialogue() -> None:
            async with pool() as workers:
                inspection = await workers.inspect(large)
                assert kinds(inspection) == [(Kind.MALWARE, "eicar")]
                assert inspection.attachments[0].size > 2_000_000
                assert (await workers.inspect(job(PLAIN))).findings == ()

        run(dialogue)


def test_a_spool_file_that_was_altered_is_undecidable(tmp_path: Path) -> None:
    with contextlib.closing(spool(tmp_path)) as store:
        large = spooled(store, PLAIN * 5000)
        assert large.path is not None
        with large.path.open("r+b") as file:
            file.seek(100_000)
            octet = file.read(1)
            file.seek(100_000)
            file.write(bytes([octet[0] ^ 1]))

        async def dialogue() -> None:
            async with pool() as workers:
                assert kinds(await workers.inspect(large)) == [(Kind.CRASH, "spool-damaged")]
                assert workers.crashes == 0

        run(dialogue)


def test_a_spool_file_that_is_not_there_is_unavailable_and_costs_no_worker(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool() as workers:
            gone = InspectJob("gone", 1, "relay.example.nl", path=tmp_path / "gone", key=bytes(32))
            assert (await workers.inspect(gone)).unavailable == ("inspect",)
            assert (await workers.inspect(job(PLAIN))).findings == ()
            assert workers.crashes == 0

    run(dialogue)


# workers that die, hang or lie


@pytest.mark.parametrize(
    "action",
    [
        "crash",
        "abort",
        "exit",
        "close the socket",
        "answer garbage",
        "answer a list",
        "answer an empty object",
        "answer nested brackets",
        "answer other types",
        "answer without end",
        "ask for another socket",
    ],
)
def test_a_worker_that_dies_or_lies_is_a_crash_finding_and_is_replaced(action: str, tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path) as workers:
            first = (await say(workers, "tell the process")).header.subject
            assert (await say(workers, action)).findings == (Finding(Kind.CRASH, "inspect", "worker-died"),)
            second = (await say(workers, "tell the process")).header.subject
            assert first != second
            assert workers.crashes == 1

    run(dialogue)


def test_a_message_that_takes_too_much_cpu_is_a_limit(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path, cpu_seconds=1) as workers:
            assert kinds(await say(workers, "spin")) == [(Kind.LIMIT, "cpu-time")]
            assert (await say(workers, "start a thread")).header.subject == "done"

    run(dialogue)


def test_a_worker_that_hangs_is_killed_at_the_deadline_and_that_is_a_limit(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path, deadline=0.5) as workers:
            assert kinds(await say(workers, "hang")) == [(Kind.LIMIT, "time")]
            assert (workers.killed, workers.crashes) == (1, 0)
            while not (answer := await say(workers, "start a thread")).header.subject:
                pass  # the next worker is still on its way: unavailable within the deadline
            assert answer.header.subject == "done"

    run(dialogue)


def test_a_message_whose_sender_went_away_in_the_middle_leaves_no_verdict_for_the_next(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path) as workers:
            task = asyncio.create_task(say(workers, "hang"))
            while not workers.busy:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert json.loads((await say(workers, "tell the environment")).header.subject)

    run(dialogue)


def test_a_worker_is_replaced_after_its_number_of_messages(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path, jobs_per_worker=2) as workers:
            pids = [(await say(workers, "tell the process")).header.subject for _ in range(6)]
            assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]
            assert (workers.killed, workers.crashes) == (0, 0)

    run(dialogue)


def test_a_worker_that_met_its_limit_of_memory_is_replaced_for_it_may_keep_much_of_it(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path) as workers:
            before = (await say(workers, "tell the process")).header.subject
            assert kinds(await say(workers, "say that memory ran out")) == [(Kind.LIMIT, "memory")]
            assert (await say(workers, "tell the process")).header.subject != before
            assert (workers.killed, workers.crashes) == (0, 0)

    run(dialogue)


def test_a_message_that_no_worker_is_free_for_in_time_is_unavailable(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path, deadline=1, patience=1, queue=1) as workers:
            first = asyncio.create_task(say(workers, "hang"))
            while not workers.busy:
                await asyncio.sleep(0)
            second, third = await asyncio.gather(say(workers, "start a thread"), say(workers, "start a thread"))
            assert third.unavailable == ("inspect",)  # the queue is full: at once
            assert kinds(await first) == [(Kind.LIMIT, "time")]
            assert second.unavailable == ("inspect",) or second.header.subject == "done"

    run(dialogue)


def test_large_messages_wait_for_their_octets_and_small_ones_pass_them(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path, workers=2, bytes_in_flight=1) as workers:
            large = InspectJob("test", 2 * 1024 * 1024, "relay.example.nl", body=b"hang")
            tasks = [asyncio.create_task(workers.inspect(large)) for _ in range(2)]
            while not (workers.busy and workers.waiting):
                await asyncio.sleep(0)
            assert workers.in_flight == large.size
            assert (await say(workers, "start a thread")).header.subject == "done"
            assert (workers.waiting, workers.in_flight) == (1, large.size)
            assert workers.expected_wait > 0
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert (workers.waiting, workers.in_flight, workers.expected_wait) == (0, 0, 0)

    run(dialogue)


def test_when_the_process_that_workers_are_forked_from_dies_another_is_started(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path) as workers:
            pid = (await say(workers, "tell the process")).header.subject
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(parent, signal.SIGKILL)
            while not (answer := await say(workers, "tell the process")).findings:
                pass  # the workers follow it, in a moment
            assert answer.findings == (Finding(Kind.CRASH, "inspect", "worker-died"),)
            assert (await say(workers, "start a thread")).header.subject == "done"

    run(dialogue)


def test_a_closed_pool_says_unavailable() -> None:
    async def dialogue() -> None:
        async with pool() as workers:
            pass
        assert (await workers.inspect(job(PLAIN))).unavailable == ("inspect",)

    run(dialogue)


def test_closing_kills_every_worker(tmp_path: Path) -> None:
    async def dialogue() -> None:
        async with pool(MISBEHAVING, rules=tmp_path, workers=2) as workers:
            pids = {int((await say(workers, "tell the process")).header.subject) for _ in range(4)}
        assert len(pids) == 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    run(dialogue)
