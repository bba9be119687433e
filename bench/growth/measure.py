"""What is measured on a store: the start, the first page of every list and search, CPU of a message."""

import asyncio
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bench.growth.installation import cpu_seconds, pid_of
from bench.growth.load import Sent, Sink, send
from bench.growth.rows import FREQUENT, RARE_CLIENT, RARE_RULE
from relay.control.client import ask
from relay.demo.stage import Relay
from relay.settings.load import load_settings
from relay.settings.models import Settings
from relay.store.engine import open_engine
from relay.store.tables import Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
WARM = 200
"""Messages before each measured load."""
TIMES = 5


@dataclass(frozen=True)
class Cost:
    """Of one load: seconds of CPU of all processes of the relay (and of PostgreSQL), and what the client saw."""

    cpu_ms: float
    sent: Sent


async def cost(relay: Relay, sink: Sink, count: int, database_pid: int | None, connections: int) -> Cost:
    """CPU of accepting and delivering `count` messages, in milliseconds a message."""
    roots = [pid_of(relay), *([database_pid] if database_pid else [])]
    await send(relay.ports["inside"], sink, WARM, connections=connections)
    await asyncio.sleep(1)
    before = cpu_seconds(*roots)
    sent = await send(relay.ports["inside"], sink, count, connections=connections)
    await asyncio.sleep(1)  # outcomes are written after the next hop's 250
    return Cost(1000 * (cpu_seconds(*roots) - before) / count, sent)


def looks(settings: Settings) -> list[tuple[str, str, dict[str, Any]]]:
    """What it is, the operation, its parameters: every list and search of the command line, with filters that fit many, few and none."""
    engine = open_engine(settings.store)
    with engine.connect() as connection:
        middle = connection.execute(select(MESSAGE).order_by(MESSAGE.c.id).where(MESSAGE.c.id > _middle(connection)).limit(1)).one()
    engine.dispose()
    why = {"reason": "the bench"}
    found: list[tuple[str, str, dict[str, Any]]] = [
        ("queue list", "queue.list", {}),
        ("queue list --state held", "queue.list", {"states": ["held"]}),
        ("queue list --state undeliverable (none)", "queue.list", {"states": ["undeliverable"]}),
        ("queue list --sender, frequent", "queue.list", {"filters": {"sender": FREQUENT[0]}, **why}),
        ("quarantine list", "quarantine.list", {}),
        ("quarantine list --recipient, one of many", "quarantine.list", {"filters": {"recipient": "r77@d77.test"}, **why}),
        ("request list", "request.list", {}),
        ("request list --all", "request.list", {"everything": True}),
    ]
    filters: dict[str, dict[str, Any]] = {
        "nothing": {},
        "--sender, frequent": {"sender": FREQUENT[0]},
        "--sender, one of many": {"sender": "s77@load.test"},
        "--sender (none)": {"sender": "nobody@load.test"},
        "--sender @domain, all mail": {"sender": "@load.test"},
        "--sender @domain (none)": {"sender": "@nowhere.test"},
        "--recipient, frequent": {"recipient": FREQUENT[1]},
        "--recipient, one of many": {"recipient": "r77@d77.test"},
        "--recipient (none)": {"recipient": "nobody@d77.test"},
        "--recipient @domain, one of 500": {"recipient": "@d77.test"},
        "--sender and --recipient, both frequent": {"sender": FREQUENT[0], "recipient": FREQUENT[1]},
        "--message-id": {"message_id": middle.header_message_id},
        "--message-id (none)": {"message_id": "<nothing@load.test>"},
        "--client, rare": {"client": RARE_CLIENT},
        "--client (none)": {"client": "nobody"},
        "--rule, rare": {"rule": RARE_RULE},
        "--rule (none)": {"rule": "nothing"},
        "--until, half the store ago": {"until_us": middle.received_us},
        "--sender --until, half the store ago": {"sender": FREQUENT[0], "until_us": middle.received_us},
    }
    found += [(f"message find {name}", "message.find", {"filters": given, **why}) for name, given in filters.items()]
    found += [
        ("message find --state delivered", "message.find", {"states": ["delivered"], **why}),
        ("message find --state bounced (none)", "message.find", {"states": ["bounced"], **why}),
        ("message show, by id", "message.show", {"id": middle.id.hex, **why}),
        ("message show, by commitment", "message.show", {"id": middle.commitment, **why}),
        ("audit list", "audit.list", why),
        ("audit list --newest", "audit.list", {"newest": True, **why}),
        ("audit list --kind phase", "audit.list", {"kinds": ["phase"], **why}),
        ("audit list --kind brake (none)", "audit.list", {"kinds": ["brake"], **why}),
        ("audit list --kind outcome --newest", "audit.list", {"kinds": ["outcome"], "newest": True, **why}),
        ("audit list --message", "audit.list", {"message": middle.id.hex, **why}),
        ("audit check, a page", "audit.check", {}),
        ("phase show", "phase.show", {}),
    ]
    return found


def _middle(connection: Any) -> Any:
    """An id in the middle of the store."""
    first, last = (
        connection.execute(select(MESSAGE.c.id).order_by(order).limit(1)).scalar() for order in (MESSAGE.c.id, MESSAGE.c.id.desc())
    )
    return type(first)(int=(first.int + last.int) // 2)


def pages(folder: Path, relay: Relay) -> list[tuple[str, float, float, str]]:
    """For each list: milliseconds of the first time and of the slowest of TIMES more, over the control socket; and what came back."""
    settings = load_settings(folder / "sluis.toml")
    results = []
    for name, operation, params in looks(settings):
        times, answer = _timed(lambda operation=operation, params=params: ask(settings, operation, params))  # type: ignore[misc]
        rows = answer.get("rows")
        said = "" if rows is None else f"{len(rows)} rows{', more' if answer.get('next') else ''}"
        results.append((name, times[0], max(times[1:]), said))
    times, _ = _timed(lambda: _get(f"http://127.0.0.1:{relay.ports['http']}/metrics"), pause=5.1)
    results.append(("/metrics", times[0], max(times[1:]), ""))
    return results


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=600) as answer:
        return {"octets": len(answer.read())}


def _timed(work: Callable[[], dict[str, Any]], pause: float = 0.0) -> tuple[list[float], dict[str, Any]]:
    times, answer = [], {}
    for _ in range(1 + TIMES):
        begun = time.monotonic()
        answer = work()
        times.append(1000 * (time.monotonic() - begun))
        time.sleep(pause)
    return times, answer


@dataclass(frozen=True)
class Erased:
    """What went in a part of a run, and in how many seconds."""

    counts: dict[str, int]
    seconds: float


Erase = Callable[[threading.Event], Counter[str]]
"""Erases until the event is set, or all that may go is gone; gives how many of each."""


async def beside(
    relay: Relay, sink: Sink, count: int, database_pid: int | None, connections: int, erase: Erase, seconds: float
) -> tuple[list[Cost], list[Cost], Erased]:
    """Loads alone, before and after; and load after load with `erase` at work beside them, until it is done or `seconds` are over."""
    alone = [await cost(relay, sink, count, database_pid, connections)]
    stop = threading.Event()
    begun = time.monotonic()
    erasing = asyncio.create_task(asyncio.to_thread(erase, stop))
    found: list[Cost] = []
    while not found or (not erasing.done() and time.monotonic() - begun < seconds):
        found.append(await cost(relay, sink, count, database_pid, connections))
    stop.set()
    counts = await erasing
    erased = Erased(dict(counts), time.monotonic() - begun)
    alone.append(await cost(relay, sink, count, database_pid, connections))
    return alone, found, erased


async def the_rest(erase: Erase) -> Erased:
    """To the end, on a relay without mail."""
    begun = time.monotonic()
    counts = await asyncio.to_thread(erase, threading.Event())
    return Erased(dict(counts), time.monotonic() - begun)


def erase_here(settings: Settings, stop: threading.Event) -> Counter[str]:
    """What `sluis store retention` does: asks the relay, piece by piece."""
    total: Counter[str] = Counter()
    position = None
    while not stop.is_set():
        piece = ask(settings, "store.retention", {"position": position, "reason": "the bench"})
        total += Counter(piece["counts"])
        position = piece["next"]
        if position is None:
            break
    return total


def erase_as_owner(config: Path, url: str, stop: threading.Event) -> Counter[str]:
    """`sluis store retention --url`, to its end or until it is stopped as by Ctrl-C; what it erased is what its events say."""
    command = [sys.executable, "-m", "relay", "store", "retention", "--url", url, "--reason", "the bench", "--config", str(config)]
    begun_us = time.time_ns() // 1000
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not stop.wait(0.2):
        pass
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait()
    asked = {"kinds": ["retention"], "since_us": begun_us, "reason": "the bench"}
    total: Counter[str] = Counter()
    for row in ask(load_settings(config), "audit.list", asked)["rows"]:
        total += Counter({name: number for name, number in row["record"]["details"].items() if isinstance(number, int)})
    return total


def median(costs: list[Cost]) -> tuple[float, float, float]:
    """CPU in milliseconds a message, messages a second, p99 of the reply in milliseconds."""
    return (
        statistics.median(found.cpu_ms for found in costs),
        statistics.median(found.sent.rate for found in costs),
        statistics.median(found.sent.p99_ms for found in costs),
    )
