"""`python -m bench.growth --store sqlite --rows 1000000 --folder DIR`: generates a store once, measures it as often as asked."""

import argparse
import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench.growth.due import drain, put_off
from bench.growth.generate import check_room, fill, size_of
from bench.growth.installation import OWNER, RELAY, Cluster, cluster, set_up, started
from bench.growth.load import Sink, send
from bench.growth.measure import Cost, Erased, beside, cost, erase_as_owner, erase_here, median, pages, the_rest
from bench.growth.rows import Plan
from relay.settings.load import load_settings
from relay.settings.models import Store
from relay.store.engine import open_engine

KINDS = ("empty", "grown")


@contextmanager
def stores(arguments: argparse.Namespace) -> Iterator[tuple[dict[str, tuple[Store, Store]], Cluster | None]]:
    """For each kind the store as the relay and as its owner reach it, and the cluster that serves them."""
    folder: Path = arguments.folder
    if arguments.store == "sqlite":
        both = {kind: Store(url=f"sqlite:///{folder / kind / 'store' / 'sluis.db'}") for kind in KINDS}
        yield {kind: (store, store) for kind, store in both.items()}, None
        return
    with cluster(folder / "postgresql") as server:
        yield {kind: (server.store(kind, RELAY), server.store(kind, OWNER)) for kind in KINDS}, server


async def prepare(arguments: argparse.Namespace, known: dict[str, tuple[Store, Store]], server: Cluster | None, sink: Sink) -> None:
    """Both relays, and the rows of the grown one; what is there already stays."""
    folder: Path = arguments.folder
    marker = folder / "sink.port"
    port = await sink.start(int(marker.read_text()) if marker.exists() else 0)
    if marker.exists():
        for kind in KINDS:
            _new_address(folder / kind, known[kind][0])
        return
    check_room(folder, arguments.rows, arguments.limit_gb)
    for kind, (store, owner) in known.items():
        if server is not None:
            server.execute(f"CREATE DATABASE {kind} OWNER {OWNER}")
        set_up(folder / kind, store, owner, port)
    relay, _ = await started(folder / "grown")
    await send(relay.ports["inside"], sink, 1, recipients=2)
    await asyncio.sleep(2)
    await relay.stop()
    engine = open_engine(known["grown"][1])
    rows = arguments.rows
    plan = Plan(rows, held=rows // 10, queued=rows // 100, quarantined=rows // 1000, days=730, now_us=time.time_ns() // 1000)
    fill(engine, plan)
    print(f"{rows:,} deliveries: {size_of(engine) / 1e9:.1f} GB on {arguments.store}")
    engine.dispose()
    marker.write_text(str(port))


def _new_address(folder: Path, store: Store) -> None:
    """The cluster has another port each time."""
    path = folder / "sluis.toml"
    lines = [f'url = "{store.url}"' if line.startswith("url = ") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


async def measure(arguments: argparse.Namespace, server: Cluster | None, sink: Sink) -> dict[str, Any]:
    """Prints as it goes; gives all of it."""
    folder: Path = arguments.folder
    pid = server.process.pid if server else None
    result: dict[str, Any] = {"store": arguments.store, "rows": arguments.rows, "start_s": {}}
    relays = {}
    for kind in KINDS:
        relays[kind], seconds = await started(folder / kind)
        result["start_s"][kind] = round(seconds, 2)
        print(f"start, {kind}: {seconds:.2f} s", flush=True)
    try:
        if not arguments.no_pages:
            print(f"\n{'first page':50} {'first':>8} {'slowest':>8} ms")
            result["pages"] = await asyncio.to_thread(pages, folder / "grown", relays["grown"])
            for name, first, slowest, said in result["pages"]:
                print(f"{name:50} {first:8.1f} {slowest:8.1f}  {said}", flush=True)
        costs: dict[str, list[Cost]] = {kind: [] for kind in KINDS}
        for number in range(arguments.rounds):
            for kind in KINDS if number % 2 == 0 else reversed(KINDS):
                found = await cost(relays[kind], sink, arguments.messages, pid, arguments.connections)
                costs[kind].append(found)
                print(f"{kind}: {found.cpu_ms:.2f} ms CPU a message, {found.sent.rate:.0f}/s, p99 {found.sent.p99_ms:.0f} ms", flush=True)
        if arguments.rounds:
            medians = {kind: median(found) for kind, found in costs.items()}
            result["medians"] = medians
            ratio = [medians["grown"][index] / medians["empty"][index] for index in range(3)]
            print(f"grown / empty: CPU {ratio[0]:.2f}, rate {ratio[1]:.2f}, p99 {ratio[2]:.2f}", flush=True)
    finally:
        for relay in relays.values():
            with contextlib.suppress(ProcessLookupError):
                await relay.stop()
    return result


async def retention(arguments: argparse.Namespace, owner: Store, server: Cluster | None, sink: Sink) -> dict[str, Any]:
    """A year is erased, first while mail comes in, then to its end."""
    folder = arguments.folder / "grown"
    config = folder / "sluis.toml"
    if "[retention]" not in config.read_text():
        config.write_text(config.read_text() + "\n[retention]\nrecord_days = 365\nevery = 1000000\n")
    settings = load_settings(config)
    erase = partial(erase_here, settings) if server is None else partial(erase_as_owner, config, owner.url)
    pid = server.process.pid if server else None
    seconds = 60 * arguments.beside_minutes
    relay, _ = await started(folder)
    try:
        alone, found, erased = await beside(relay, sink, arguments.messages, pid, arguments.connections, erase, seconds)
        medians = {"alone": median(alone), "beside": median(found)}
        for name, (cpu, rate, p99) in medians.items():
            print(f"{name}: {cpu:.2f} ms CPU a message, {rate:.0f}/s, p99 {p99:.0f} ms", flush=True)
        ratio = [medians["beside"][index] / medians["alone"][index] for index in range(3)]
        print(f"beside / alone: CPU {ratio[0]:.2f}, rate {ratio[1]:.2f}, p99 {ratio[2]:.2f}; {len(found)} loads beside it")
        _say_erased("beside the loads", erased)
        rest = await the_rest(erase)
        _say_erased("then, without mail, to the end", rest)
    finally:
        await relay.stop()
    return {**medians, "erased": asdict(erased), "rest": asdict(rest)}


def _say_erased(when: str, part: Erased) -> None:
    rate = part.counts.get("messages", 0) / part.seconds
    print(f"erased {when} in {part.seconds:.0f} s: {part.counts}, {rate:.0f} messages/s", flush=True)


async def waiting(
    arguments: argparse.Namespace, known: dict[str, tuple[Store, Store]], server: Cluster | None, sink: Sink
) -> dict[str, Any]:
    """As many as `--due` says are due at once while mail comes in: in the empty store, and in the grown one."""
    pid = server.process.pid if server else None
    found = {}
    for kind in KINDS:
        folder, owner = arguments.folder / kind, known[kind][1]
        one = await drain(folder, owner, sink, arguments.due, arguments.messages, pid, arguments.connections)
        found[kind] = asdict(one)
        print(
            f"{one.due} due, {kind}: all gone after {one.seconds:.0f} s, {one.cpu_ms:.2f} ms CPU a message; of them {one.gone} while",
            end=" ",
        )
        print(f"{one.new.count} new ones came in, at {one.new.rate:.0f}/s, p99 {one.new.p99_ms:.0f} ms", flush=True)
    print(f"grown / empty: CPU {found['grown']['cpu_ms'] / found['empty']['cpu_ms']:.2f}", flush=True)
    return found


async def run(arguments: argparse.Namespace) -> None:
    """Prepares, then measures."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    arguments.folder.chmod(0o755)
    sink = Sink()
    with stores(arguments) as (known, server):
        await prepare(arguments, known, server, sink)
        put_off(known["grown"][1])
        if not arguments.generate_only:
            result = await measure(arguments, server, sink)
            if arguments.due:
                result["due"] = await waiting(arguments, known, server, sink)
            if arguments.retention:
                result["retention"] = await retention(arguments, known["grown"][1], server, sink)
            (arguments.folder / "result.json").write_text(json.dumps(result, indent=1))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), required=True)
    parser.add_argument("--rows", type=int, default=1_000_000, help="deliveries; a tenth of them held, a hundredth queued")
    parser.add_argument("--folder", type=Path, required=True, help="where all of it lies; a store that is there is measured again")
    parser.add_argument("--limit-gb", type=float, default=40)
    parser.add_argument("--messages", type=int, default=2000, help="in one measured load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--no-pages", action="store_true")
    parser.add_argument("--due", type=int, default=0, help="then let so many deliveries wait, and be due at once while new mail comes in")
    parser.add_argument("--retention", action="store_true", help="then erase a year, with loads beside it, and what is left to its end")
    parser.add_argument("--beside-minutes", type=float, default=5.0, help="how long at most with loads beside it")
    parser.add_argument("--generate-only", action="store_true")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
