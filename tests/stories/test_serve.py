"""`sluis serve` starts only on a sound store, stops without losing anything, and takes changes without a restart."""

import asyncio
import re
import smtplib
import stat
import urllib.request
from pathlib import Path

from sqlalchemy import text

from relay.demo.stage import Relay
from relay.settings.models import Store
from tests.servers.database import Database
from tests.servers.sink import Behaviour, Sink
from tests.stories.house import CLERK, SENDER, house, message, until


def test_an_old_schema_is_refused_and_upgrade_mends_it(tmp_path: Path, empty_database: Database) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, empty_database.relay, outside=sink.port, started=False) as sluis:
            refused = await sluis.sluis("serve")
            assert refused.code == 1
            assert "sluis store upgrade" in refused.err
            assert "Traceback" not in refused.err
            await asyncio.to_thread(empty_database.upgrade)
            await sluis.start()
            await sluis.until_states(await sluis.send(message()), "delivered")

    asyncio.run(story())


def test_a_missing_trigger_is_refused(tmp_path: Path, new_database: Database) -> None:
    async def story() -> None:
        drop = "DROP TRIGGER event_no_delete" + (" ON event" if new_database.dialect == "postgresql" else "")
        engine = new_database.owner_engine()
        with engine.begin() as connection:
            connection.execute(text(drop))
        engine.dispose()
        async with house(tmp_path, new_database.relay, started=False) as sluis:
            refused = await sluis.sluis("serve")
            assert refused.code == 1
            assert "event_no_delete" in refused.err

    asyncio.run(story())


def test_a_stop_finishes_what_was_received(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        behaviour = Behaviour(hang_at={"DOT"})
        async with Sink(behaviour) as sink, house(tmp_path, database, outside=sink.port) as sluis:
            reply = await sluis.send(message())
            await sink.wait_for_messages(1)
            stopping = asyncio.create_task(sluis.stop())
            await until(lambda: _refused(sluis.port()), "the socket to close")
            behaviour.hang_at.clear()
            await sink.stop()
            assert await stopping == 0
            assert sluis.states(reply.id)[0] in ("ready", "delivered")
            assert (await sluis.sluis("audit", "check")).code == 0

    asyncio.run(story())


def _refused(port: int) -> bool:
    try:
        smtplib.SMTP("127.0.0.1", port, timeout=2).close()
    except (OSError, smtplib.SMTPException):
        return True
    return False


def test_health_readiness_and_metrics_are_told(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            await sluis.until_states(await sluis.send(message()), "delivered")
            base = f"http://127.0.0.1:{sluis.relay.ports['http']}"
            assert (await asyncio.to_thread(_get, f"{base}/healthy")) == "healthy\n"
            assert (await asyncio.to_thread(_get, f"{base}/ready")) == "ready\n"
            metrics = await asyncio.to_thread(_get, f"{base}/metrics")
            assert 'sluis_deliveries{state="delivered"} 1.0' in metrics
            assert "sluis_balance_holds 1.0" in metrics
            await until(lambda: "status=sent (250 2.0.0 Ok: queued)" in sluis.log(), "the line of the delivery")
            assert 'line": "' in sluis.log()
            assert re.search(rf": to=<{CLERK}>, from=<{SENDER}>, relay=\S+, delay=\d+\.\d\d, dsn=2\.0\.0, status=sent \(250 ", sluis.log())

    asyncio.run(story())


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        body: bytes = answer.read()
    return body.decode()


def test_a_second_relay_on_the_same_sqlite_file_is_refused(tmp_path: Path, new_database: Database) -> None:
    async def story() -> None:
        async with house(tmp_path, new_database.relay) as sluis:
            second = await sluis.sluis("serve")
            assert second.code == 1
            assert "is held by process" in second.err or "another relay answers" in second.err

    asyncio.run(story())


def test_listen_and_deliver_as_two_processes(tmp_path: Path, new_database: Database) -> None:
    """On PostgreSQL the roles are separate, in the database too; on SQLite one process owns the store, and separate roles are refused."""

    async def story() -> None:
        async with Sink() as sink, house(tmp_path, new_database.relay, outside=sink.port, started=False) as sluis:
            if new_database.dialect == "sqlite":
                refused = await sluis.sluis("serve", "--role", "listen")
                assert (refused.code, "PostgreSQL" in refused.err) == (1, True)
                return
            await sluis.start("--role", "deliver")  # puts the policy in force, which what listens may not
            assert await sluis.stop() == 0
            private = sluis.folder / "keys" / "spool"
            private.rename(private.with_name("away"))
            listens = sluis.folder / "listen.toml"
            listens.write_text(sluis.config.read_text().replace(new_database.relay.url, new_database.listen.url))
            sluis.relays.append(Relay(listens, "--role", "listen"))
            await sluis.relay.start()
            reply = await sluis.send(message())
            assert reply.code == 250
            assert (await sluis.send(message(From="a@elsewhere.example"))).code == 550
            assert sluis.states(reply.id) == ["ready"]
            metrics = await asyncio.to_thread(_get, f"http://127.0.0.1:{sluis.relay.ports['http']}/metrics")
            assert 'sluis_deliveries{state="ready"} 1.0' in metrics
            private.with_name("away").rename(private)
            await sluis.start("--role", "deliver")
            await sluis.until_states(reply, "delivered")
            assert await sluis.stop() == 0  # what is written beside and renamed would vanish meanwhile
            modes = {stat.S_IMODE(path.stat().st_mode) for path in (sluis.folder / "spool").rglob("*")}
            assert modes == {0o770, 0o660}  # the two may run as users of one group
            assert (await sluis.sluis("audit", "check")).code == 0

    asyncio.run(story())
