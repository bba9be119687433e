"""Mail in custody: whatever happens to its client, its body, its scanner, its lease or the disk, it leaves once or somebody hears."""

import asyncio
import os
import signal
import smtplib
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from relay.model.ids import new_id
from relay.settings.models import Store
from relay.store.spool.format import BODY_START
from relay.store.tables import Queue
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import CLERK, CLIENTS, PASS, SECONDS, House, house, message, until, with_attachment
from tests.stories.test_extensions import field

QUEUE = Queue.__table__  # type: ignore[attr-defined]
COLLEAGUE = "judge@court.example"
DAY = 86_400
LATER = {"delivery": {"schedule": [600]}}
"""Nothing is tried again by itself while the story runs."""
GREYLISTING = {"RCPT": "450 4.2.0 greylisted"}
SAID_250 = CLIENTS.replace("name: mailserver\n", "name: mailserver\n    already_accepted: true\n")
HELD = PASS + "  - {name: wait, when: {recipient: [court.example]}, then: hold, because: the court moves}\n"
LEASE_SECONDS = 3.0
BROKEN_DISK = """\
import os

synced = os.fsync

def fsync(descriptor):
    if os.path.exists({mark!r}):
        raise OSError(5, "Input/output error")
    synced(descriptor)

os.fsync = fsync
"""
"""Python reads it at its start, as `sitecustomize`: from the day that the mark is there, the disk does not sync."""


def queued(engine: Engine) -> list[Any]:
    """The rows of the queue."""
    with engine.connect() as connection:
        return list(connection.execute(select(Queue.__table__)))  # type: ignore[attr-defined]


def body_of(sluis: House, name: str) -> Path:
    """Where a body lies."""
    return sluis.folder / "spool" / name[:6] / name


def test_what_is_too_large_to_take_and_can_not_be_refused_is_inspected_before_a_person_sees_it(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        small = [{"name": "small", "side": "inside", "addresses": ["127.0.0.1:0"], "require_tls": False, "message_size": 2000}]
        policy = {"clients.yaml": SAID_250}
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=policy, listeners=small) as sluis:
            reply = await sluis.send(with_attachment("plan.exe", b"MZ" + b"\0" * 3000, Subject="The plan"), listener="small")
            assert reply.code == 250, "a client that has said 250 never hears 5xx after DATA"
            (row,) = await sluis.until_states(reply, "quarantined")
            inspection = row.m_inspection
            assert inspection["header"]["subject"] == "The plan"
            assert "plan.exe" in [attachment["name"] for attachment in inspection["attachments"]]
            assert ("listen", "too-large") in {(item["inspector"], item["name"]) for item in inspection["findings"]}
            assert sink.messages == []

    asyncio.run(story())


def test_held_mail_of_a_client_that_has_left_the_policy_goes_back_to_its_sender(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with (
            Sink() as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy={"rules/pass.yaml": HELD}) as sluis,
        ):
            reply = await sluis.send(message())
            await sluis.until_states(reply, "held")
            sluis.write_policy({"rules/pass.yaml": PASS, "clients.yaml": CLIENTS.replace("mailserver", "successor")})
            await sluis.reload()
            (row,) = await sluis.until_states(reply, "bounced")
            assert "from-not-allowed" in [item["name"] for item in row.m_inspection["findings"]]
            assert field((await home.wait_for_messages(1))[0].raw, "Status") == ["5.7.1"]
            assert sink.messages == []

    asyncio.run(story())


def test_a_body_that_was_altered_on_the_disk_is_undeliverable_and_kept(tmp_path: Path, database: Store, engine: Engine) -> None:
    async def story() -> None:
        behaviour = Behaviour(replies=dict(GREYLISTING))
        async with Sink(behaviour) as sink, house(tmp_path, database, outside=sink.port, settings=LATER) as sluis:
            reply = await sluis.send(message())
            await until(lambda: queued(engine)[0].next_us > (time.time() + 60) * 1e6, "the end of the first attempt")
            body = body_of(sluis, sluis.rows(reply.id)[0].m_spool_object)
            altered = bytearray(body.read_bytes())
            altered[BODY_START] ^= 1
            body.write_bytes(altered)
            behaviour.replies.clear()
            said = await sluis.sluis("queue", "retry", reply.id.hex, "--reason", "the other side is back")
            assert said.code == 0, said.err
            (row,) = await sluis.until_states(reply, "undeliverable")
            assert row.m_spool_object == body.name
            assert body.read_bytes() == altered
            assert sink.messages == []

    asyncio.run(story())


def test_after_a_failed_fsync_the_process_ends_without_another_promise(
    tmp_path: Path, database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        mark = tmp_path / "broken"
        (tmp_path / "python").mkdir()
        (tmp_path / "python" / "sitecustomize.py").write_text(BROKEN_DISK.format(mark=str(mark)))
        before = [folder for folder in [os.environ.get("PYTHONPATH")] if folder]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "python"), *before]))
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            await sluis.until_states(await sluis.send(message("While the disk is well")), "delivered")
            mark.touch()
            with pytest.raises(smtplib.SMTPServerDisconnected):
                await sluis.send(message("While it is not"))
            async with asyncio.timeout(SECONDS):
                assert sluis.relay._process is not None
                assert await sluis.relay._process.wait() == -signal.SIGKILL
            assert len(sluis.rows()) == 1, "what was not promised is not recorded"
            mark.unlink()
            await sluis.start()
            await sluis.until_states(await sluis.send(message("On a new disk")), "delivered")

    asyncio.run(story())


def test_what_no_scanner_could_judge_until_its_end_goes_back_to_its_sender(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        policy = {"clients.yaml": SAID_250, "inspection.yaml": "outbound: [yara, type, archive, clamd]\n"}
        settings = {"clamd": {"socket": str(tmp_path / "nobody.sock")}, "delivery": {"expiry": 2, "delay_notice": 1}}
        async with (
            Sink() as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy=policy, settings=settings) as sluis,
        ):
            reply = await sluis.send(message(), to=[f"{CLERK} NOTIFY=FAILURE"])
            assert reply.code == 250
            await sluis.until_states(reply, "bounced")
            accepted = await sluis.events("accepted")
            assert [entry["state"] for entry in accepted[0]["details"]["recipients"]] == ["undecided"]
            assert field((await home.wait_for_messages(1))[0].raw, "Status") == ["5.4.7"]
            assert sink.messages == []

    asyncio.run(story())


def test_a_delivery_that_takes_longer_than_its_lease_is_made_once(tmp_path: Path, database: Store, engine: Engine) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        settings = {"delivery": {"lease": LEASE_SECONDS}}
        async with Sink(Behaviour(gates={"DOT": gate})) as sink, house(tmp_path, database, outside=sink.port, settings=settings) as sluis:
            reply = await sluis.send(message())
            await until(lambda: any(row.marked_fence for row in queued(engine)), "the mark before the final dot")
            (first,) = queued(engine)
            later_us = first.lease_until_us + int(LEASE_SECONDS * 1e6)
            await until(lambda: queued(engine)[0].lease_until_us >= later_us, "a lease that began after the first had ended")
            (now,) = queued(engine)
            assert (now.fence, now.marked_fence) == (first.fence, first.fence), "renewed, and not taken over"
            gate.set()
            (row,) = await sluis.until_states(reply, "delivered")
            assert (row.attempts, row.possible_duplicates, sink.connections, len(sink.messages)) == (1, 0, 1, 1)

    asyncio.run(story())


def test_an_orphan_older_than_the_longest_session_is_gone_after_a_start_and_nothing_else(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings=LATER) as sluis:
            reply = await sluis.send(message())
            await sluis.until_states(reply, "ready")
            body = body_of(sluis, sluis.rows(reply.id)[0].m_spool_object)
            assert await sluis.stop() == 0
            orphan, young = (body.with_name(body.name[:6] + new_id().hex[6:]) for _ in range(2))
            for path in (orphan, young):
                path.write_bytes(body.read_bytes())
            for path in (orphan, body):
                os.utime(path, (time.time() - 3 * DAY,) * 2)
            await sluis.start()
            await until(lambda: not orphan.exists(), "the sweep")
            assert (body.exists(), young.exists()) == (True, True)

    asyncio.run(story())


def test_a_recipient_who_comes_back_alone_is_still_one_of_several(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        held = PASS + f"  - {{name: wait, when: {{recipient: [{COLLEAGUE}]}}, then: hold, because: on leave}}\n"
        many = PASS + "  - {name: many, when: {recipients_more_than: 1}, then: quarantine, because: too many at once}\n"
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": held}) as sluis:
            reply = await sluis.send(message(), to=[CLERK, COLLEAGUE])
            await sluis.until_states(reply, "delivered", "held")
            sluis.write_policy({"rules/pass.yaml": many})
            await sluis.reload()
            _, row = await sluis.until_states(reply, "delivered", "quarantined")
            assert [match["rule"] for match in row.rules if match["disposition"] == "quarantine"] == ["many"]
            assert [arrived.envelope.addresses for arrived in sink.messages] == [[CLERK]]

    asyncio.run(story())


def test_what_a_wrong_clock_put_off_for_a_year_and_was_leased_for_one_leaves_when_the_clock_is_right(
    tmp_path: Path, database: Store
) -> None:
    year_us = 365 * DAY * 1_000_000

    async def story() -> None:
        behaviour = Behaviour(replies={"MAIL": "451 4.3.0 Later"})
        async with (
            Sink(behaviour) as sink,
            house(tmp_path, database, outside=sink.port, settings={"delivery": {"schedule": [600], "lease": LEASE_SECONDS}}) as sluis,
        ):
            put_off, leased = [await sluis.send(message()) for _ in range(2)]
            await until(
                lambda: sum(row.owner is None and row.attempts == 1 for row in queued(sluis._engine)) == 2, lambda: sluis.log()[-2000:]
            )
            assert await sluis.stop() == 0
            ahead = update(QUEUE).values(next_us=QUEUE.c.next_us + year_us).where(QUEUE.c.message_id == put_off.id)
            owned = update(QUEUE).values(next_us=0, owner="dead", lease_until_us=QUEUE.c.next_us + year_us, fence=QUEUE.c.fence + 1)
            with sluis._engine.begin() as connection:
                connection.execute(ahead)
                connection.execute(owned.where(QUEUE.c.message_id == leased.id))
            behaviour.replies = {}
            await sluis.start()
            await sluis.until_states(put_off, "delivered")
            await sluis.until_states(leased, "delivered")

    asyncio.run(story())
