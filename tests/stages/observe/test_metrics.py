"""What the monitoring sees of a whole relay: the metrics that docs/observing.md lists, readiness with reasons, and the balance."""

import asyncio
import re
import sqlite3
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from relay.settings.models import Store
from relay.store.engine import sqlite_path
from tests.servers.certificates import issue, make_ca
from tests.servers.sink import Sink
from tests.stories.house import House, house, message, until

DOCUMENT = Path(__file__).parents[3] / "docs" / "observing.md"
ROW = re.compile(r"^\| `(sluis_\w+)` \| (\w+) \| (.*?) \| (.+?) \|$", re.MULTILINE)
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def get(sluis: House, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{sluis.relay.ports['http']}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metrics(sluis: House) -> dict[str, Metric]:
    """By name, as a Prometheus would read them."""
    status, text = get(sluis, "/metrics")
    assert status == 200, text
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """One sample."""
    found = [sample.value for family in families.values() for sample in family.samples if sample.name == name and sample.labels == labels]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def documented() -> dict[str, tuple[str, str, str]]:
    """Name to type, labels and meaning."""
    return {found[1]: (found[2], found[3], found[4]) for found in ROW.finditer(DOCUMENT.read_text())}


def shown(families: dict[str, Metric]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """The same of a running relay; a label has its name where there is a sample."""
    for family in families.values():
        labels = sorted({label for sample in family.samples for label in sample.labels})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, (family.type, ", ".join(f"`{label}`" for label in labels), family.documentation)


@on_sqlite
def test_the_metrics_are_those_of_the_documentation(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        authority = make_ca(tmp_path / "ca")
        chain, key = issue(authority, ["relay.prosecution.example"])
        listener = {"name": "tls", "side": "inside", "addresses": ["127.0.0.1:0"], "tls": {"certificate": str(chain), "key": str(key)}}
        policy = {"rules/trial.yaml": "rules: [{name: trial, then: reject, because: on trial, mode: observe}]\n"}
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=policy, listeners=[listener]) as sluis:
            await sluis.until_states(await sluis.send(message()), "delivered")
            refused = await sluis.send(message(), sender="eve@elsewhere.example")
            assert refused.code == 550
            families = await asyncio.to_thread(metrics, sluis)
            told = dict(shown(families))
            alerts = ("counter", "`alert`", "what a person must know of")  # there was none
            assert told.pop("sluis_alerts_total")[0] == "counter"
            assert {**told, "sluis_alerts_total": alerts} == documented()
            assert value(families, "sluis_messages_received_total") == 1
            assert value(families, "sluis_observed_matches_total", rule="trial", disposition="reject") == 1
            assert value(families, "sluis_refusals_total", code="550") == 1
            assert value(families, "sluis_deliveries", state="delivered") == 1
            assert value(families, "sluis_oldest_seconds", state="ready") == 0
            assert value(families, "sluis_balance_holds") == 1
            assert value(families, "sluis_balance_difference") == 0
            assert value(families, "sluis_brake") == 0
            assert value(families, "sluis_certificate_expiry_seconds", listener="tls") > 1_795_000_000
            assert value(families, "sluis_inspector_up", inspector="yara") == 1
            assert value(families, "sluis_spool_free_bytes") > 0

    asyncio.run(story())


@on_sqlite
def test_a_relay_whose_spool_is_full_is_healthy_and_not_ready(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings={"spool": {"full_percent": 0.001}}) as sluis:
            assert await asyncio.to_thread(get, sluis, "/ready") == (503, "the spool is above its watermark\n")
            assert await asyncio.to_thread(get, sluis, "/healthy") == (200, "healthy\n")

    asyncio.run(story())


@on_sqlite
def test_a_relay_that_can_take_mail_is_ready(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database) as sluis:
            assert await asyncio.to_thread(get, sluis, "/ready") == (200, "ready\n")

    asyncio.run(story())


@on_sqlite
def test_the_age_of_the_queue_grows_however_often_delivery_is_tried(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with house(tmp_path, database, settings={"delivery": {"schedule": [0.2]}}) as sluis:
            reply = await sluis.send(message())
            await until(lambda: value(metrics(sluis), "sluis_oldest_seconds", state="ready") > 3, "a queue that is 3 seconds old")
            await until(lambda: sluis.log().count('"event": "delivery"') > 3, "more than 3 tries")
            assert value(metrics(sluis), "sluis_oldest_seconds", state="ready") > 3
            assert (await sluis.sluis("queue", "delete", reply.id.hex, "--reason", "the end of a test")).code in (0, 1)

    asyncio.run(story())


@on_sqlite
def test_a_recipient_that_vanished_from_the_record_raises_an_alert_and_pulls_the_brake(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        path = sqlite_path(database)
        assert path is not None
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings={"delivery": {"balance": 0.3}}) as sluis:
            await sluis.until_states(await sluis.send(message()), "delivered")
            assert (await sluis.sluis("phase", "show", "--json")).json["brake"] is False, "all is accounted for"
            assert await sluis.stop() == 0
            with sqlite3.connect(path) as connection:
                (row,) = connection.execute("SELECT * FROM delivery").fetchall()
                connection.execute("DELETE FROM delivery")
            connection.close()
            await sluis.start()
            await until(lambda: '"alert": "balance"' in sluis.log(), "the alert")
            await until(lambda: value(metrics(sluis), "sluis_brake") == 1, "the brake")
            families = await asyncio.to_thread(metrics, sluis)
            assert value(families, "sluis_balance_holds") == 0
            assert value(families, "sluis_balance_difference") == 1
            assert value(families, "sluis_alerts_total", alert="balance") >= 1
            shown = (await sluis.sluis("phase", "show", "--json")).json
            assert "the balance does not hold" in shown["brake_reason"]
            (event,) = await sluis.events("brake")
            assert event["result"] == "on", "once, however often it is counted"
            held = await sluis.send(message("While the brake is on"))
            await sluis.until_states(held, "held")
            assert len(sink.messages) == 1, "nothing leaves until a person has looked"
            assert await sluis.stop() == 0
            with sqlite3.connect(path) as connection:
                connection.execute(f"INSERT INTO delivery VALUES ({', '.join('?' * len(row))})", row)
            connection.close()

    asyncio.run(story())
