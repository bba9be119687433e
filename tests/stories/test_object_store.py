"""Bodies in an object store beside PostgreSQL: what 250 promises, with the store there, away, hanging, and lost between two steps."""

import asyncio
import os
import shutil
import signal
import smtplib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import obstore
import pytest
from sqlalchemy import select, text

from relay.demo.stage import DemoFailed
from relay.settings.load import load_settings
from relay.settings.models import ObjectStore, Store
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.engine import open_engine
from relay.store.spool.open import open_spool
from relay.store.tables import Message
from tests.servers.database import Database
from tests.servers.s3 import Ceph
from tests.servers.sink import Sink
from tests.stories.house import SECONDS, House, house, message, until, with_attachment
from tests.stories.machines import WAITS_LONG
from tests.stories.test_review import POLICY, SCRIPT

LARGE = os.urandom(3 * 1024 * 1024)
TURNS = 3
"""In one of them this machine does little else."""


@pytest.fixture
def dialect() -> str:
    return "postgresql"


def spool_in(bucket: ObjectStore, **changes: Any) -> dict[str, Any]:
    """Settings of a spool."""
    return {"s3": {**bucket.model_dump(mode="json", exclude_unset=True), **changes}}


def packs_in(ceph: Ceph, bucket: ObjectStore) -> list[str]:
    """What lies there."""
    return [item["path"] for page in obstore.list(ceph.client(bucket.bucket), f"{bucket.prefix}/packs/") for item in page]


@asynccontextmanager
async def over(
    tmp_path: Path, database: Store, bucket: ObjectStore, sink: Sink, settings: Mapping[str, Any] | None = None, **more: Any
) -> AsyncIterator[House]:
    """A house whose bodies are in the bucket."""
    changes = {"spool": spool_in(bucket), **(settings or {})}
    async with house(tmp_path, database, outside=sink.port, settings=changes, **more) as sluis:
        yield sluis


def test_mail_of_any_size_goes_through_the_object_store_and_nothing_is_kept_here(
    tmp_path: Path, database: Store, ceph: Ceph, bucket: ObjectStore
) -> None:
    async def story() -> None:
        over_tls = {"spool": spool_in(bucket, endpoint=ceph.tls_endpoint, ca_file=str(ceph.ca))}
        async with Sink() as sink, over(tmp_path, database, bucket, sink, over_tls) as sluis:
            mails = [message(), with_attachment("plan.bin", os.urandom(100_000)), with_attachment("film.bin", LARGE)]
            replies = await asyncio.gather(*(sluis.send(raw) for raw in mails))
            for reply in replies:
                assert reply.code == 250
                await sluis.until_states(reply, "delivered")
            assert sorted(len(arrived.raw) for arrived in sink.messages) > sorted(map(len, mails))
            assert all(any(arrived.raw.endswith(raw) for arrived in sink.messages) for raw in mails)
            assert {name.rpartition(".")[2] for name in packs_in(ceph, bucket)} == {"body", "keys"}
            assert [path for path in (sluis.folder / "spool").rglob("*") if path.is_file()] == []
            checked = await sluis.sluis("store", "check", "--bodies")
            assert checked.code == 0, checked.out

    asyncio.run(story())


def test_what_waits_survives_a_restart_on_a_machine_that_has_nothing_of_its_own(
    tmp_path: Path, database: Store, bucket: ObjectStore
) -> None:
    async def story() -> None:
        async with Sink() as sink, over(tmp_path, database, bucket, sink) as sluis:
            sink.behaviour.replies["RCPT"] = "450 4.2.0 not now"
            replies = [await sluis.send(message()), await sluis.send(with_attachment("film.bin", LARGE))]
            assert await sluis.stop() == 0
            shutil.rmtree(sluis.folder / "spool")
            sink.behaviour.replies.clear()
            await sluis.start()
            for reply in replies:
                await sluis.until_states(reply, "delivered")

    asyncio.run(story())


def test_what_was_quarantined_is_released_and_inspected_again(tmp_path: Path, database: Store, bucket: ObjectStore) -> None:
    async def story() -> None:
        async with Sink() as sink, over(tmp_path, database, bucket, sink, policy=POLICY) as sluis:
            mails = [with_attachment("plan.js", SCRIPT), with_attachment("film.js", LARGE)]
            replies = [await sluis.send(raw) for raw in mails]
            for reply, raw in zip(replies, mails, strict=True):
                assert sluis.states(reply.id) == ["quarantined"]
                rotated = await sluis.sluis("keys", "spool", "rotate", "--reason", "between")
                assert rotated.code == 0, rotated.err
                said = await sluis.sluis("quarantine", "release", f"{reply.id.hex}/0", "--reason", "asked for")
                assert said.code == 0, said.err
                await sluis.until_states(reply, "delivered")
                assert sink.messages[-1].raw.endswith(raw)

    asyncio.run(story())


def test_while_the_object_store_is_away_clients_hear_451_and_what_was_accepted_waits(
    tmp_path: Path, database: Store, ceph: Ceph, bucket: ObjectStore
) -> None:
    async def story() -> None:
        settings = {"spool": spool_in(bucket, deadline=1.5), "delivery": {"schedule": [600]}}
        async with Sink() as sink, over(tmp_path, database, bucket, sink, settings) as sluis:
            sink.behaviour.replies["RCPT"] = "450 4.2.0 not now"
            waiting = await sluis.until_taken(message("Before"))
            await until(lambda: '"4.2.0"' in sluis.log(), "the first attempt")
            ceph.stop()
            try:
                sink.behaviour.replies.clear()
                for raw in (message("Meanwhile"), with_attachment("film.bin", LARGE)):
                    refused = await sluis.send(raw)
                    assert (refused.code, "Storage is not available now" in refused.text) == (451, True)
                assert (await sluis.sluis("queue", "retry", "--all", "--reason", "while it is away")).code == 0
                await until(lambda: "spool-unavailable" in sluis.log(), "an attempt without a body")
                assert sluis.states(waiting.id) == ["ready"]
            finally:
                ceph.start()
            taken = await sluis.until_taken(message("After"))
            async with asyncio.timeout(SECONDS):
                while {*sluis.states(waiting.id), *sluis.states(taken.id)} != {"delivered"}:
                    assert (await sluis.sluis("queue", "retry", "--all", "--reason", "it is back")).code == 0
            assert len(sink.messages) == 2

    asyncio.run(story())


def test_a_store_that_hangs_costs_a_client_its_deadline_and_no_promise(
    tmp_path: Path, database: Store, ceph: Ceph, bucket: ObjectStore
) -> None:
    async def story() -> None:
        settings = {"spool": spool_in(bucket, deadline=1.5)}
        async with Sink() as sink, over(tmp_path, database, bucket, sink, settings) as sluis:
            ceph.signal(signal.SIGSTOP)
            try:
                took: list[float] = []
                while not took or took[-1] >= 8:
                    assert len(took) < TURNS, took
                    began = time.monotonic()
                    replies = await asyncio.gather(*(sluis.send(message(str(number))) for number in range(3)))
                    took.append(time.monotonic() - began)
                    assert {reply.code for reply in replies} == {451}
            finally:
                ceph.signal(signal.SIGCONT)
            reply = await sluis.until_taken(message("After"))
            await sluis.until_states(reply, "delivered")
            assert len(sink.messages) == 1

    asyncio.run(story())


def test_a_relay_that_dies_between_body_and_commit_leaves_an_orphan_that_is_swept_and_a_client_without_250(
    tmp_path: Path, new_database: Database, ceph: Ceph, bucket: ObjectStore
) -> None:
    async def story() -> None:
        async with Sink() as sink, over(tmp_path, new_database.relay, bucket, sink) as sluis:
            kept = await sluis.send(message("Kept"))
            await sluis.until_states(kept, "delivered")
            before = set(packs_in(ceph, bucket))
            engine = new_database.owner_engine()
            try:
                with engine.connect() as connection:
                    connection.execute(text(WAITS_LONG))
                    connection.execute(text("LOCK TABLE message IN EXCLUSIVE MODE"))
                    sending = asyncio.create_task(sluis.send(message("Lost on the way")))
                    await until(lambda: len(set(packs_in(ceph, bucket)) - before) == 2, "the body in the object store")
                    await sluis.kill()
                    with suppress(smtplib.SMTPServerDisconnected):
                        assert (await sending).code != 250
            finally:
                engine.dispose()
            await until(lambda: not held_back(new_database.relay), "the end of the commit that nobody waits for")
            _sweep(sluis, new_database.relay)
            assert set(packs_in(ceph, bucket)) == before
            await sluis.start()
            again = await sluis.send(message("Again"))
            await sluis.until_states(again, "delivered")

    asyncio.run(story())


def held_back(store: Store) -> int:
    """Statements of others that are still being run."""
    engine = open_engine(store)
    try:
        with engine.connect() as connection:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"
            )
            return int(connection.execute(text(query)).scalar_one())
    finally:
        engine.dispose()


def _sweep(sluis: House, store: Store) -> None:
    """As the relay does it, without waiting for the time of the longest session."""
    engine = open_engine(store)
    try:
        with engine.connect() as connection:
            rows = set(connection.execute(select(Message.__table__.c.spool_object)).scalars())  # type: ignore[attr-defined]
    finally:
        engine.dispose()
    time.sleep(1.1)  # the clock of the store has whole seconds
    with closing(open_spool(load_settings(sluis.config).spool, RelaxedBodyHash)) as spool:
        assert spool.sweep(lambda names: rows & set(names), 1.0) == 1


def test_a_store_that_refuses_us_is_told_by_check_and_refused_at_the_start_without_its_secret(
    tmp_path: Path, database: Store, ceph: Ceph, bucket: ObjectStore
) -> None:
    secret, says = "k9" * 20, "403 Forbidden SignatureDoesNotMatch"
    file = tmp_path / "wrong"
    file.write_text(f"[default]\naws_access_key_id = {ceph.access_key}\naws_secret_access_key = {secret}\n")
    file.chmod(0o600)

    async def story() -> None:
        settings = {"spool": spool_in(bucket, credentials=str(file))}
        async with Sink() as sink, over(tmp_path, database, bucket, sink, settings, started=False) as sluis:
            checked = await sluis.sluis("check")
            assert (checked.code, says in checked.err) == (1, True)
            with pytest.raises(DemoFailed):
                await sluis.start()
            assert says in sluis.log()
            told = checked.err + checked.out + sluis.log()
            assert secret not in told
            assert ceph.access_key not in told

    asyncio.run(story())
