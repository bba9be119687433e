"""Fills a store: indexes taken away, rows written in bulk, indexes made again. Nobody may use the store meanwhile."""

import shutil
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, insert, make_url

from bench.growth.rows import TABLES, Maker, Plan
from relay.store import schema
from relay.store.tables import Tally

BATCH = 5_000
OCTETS_A_DELIVERY = 4_500
"""On the disk, indexes and all, as measured; with the room that making indexes takes."""
MONTHS = 25


class NoRoom(Exception):
    """The disk would become too full."""


def check_room(folder: Path, deliveries: int, limit_gb: float) -> None:
    """Raises NoRoom."""
    wanted = deliveries * OCTETS_A_DELIVERY
    free = shutil.disk_usage(folder).free
    if wanted > limit_gb * 1e9 or wanted > 0.8 * free:
        raise NoRoom(
            f"{deliveries} deliveries take about {wanted / 1e9:.0f} GB; {free / 1e9:.0f} GB are free, the limit is {limit_gb:.0f} GB"
        )


def fill(owner: Engine, plan: Plan) -> None:
    """`owner`: a store in which one message was relayed. Prints how far it is."""
    if owner.dialect.name == "postgresql":
        with owner.begin() as connection:
            schema.make_partitions(connection, MONTHS)
    maker = Maker(owner, plan)
    indexes = [index for table in TABLES.values() for index in table.indexes if table.name != "queue"]
    begun = time.monotonic()
    for index in indexes:
        index.drop(owner)
    write = _sqlite if owner.dialect.name == "sqlite" else _postgresql
    write(owner, maker, plan, begun)
    with owner.begin() as connection:
        accepted = sum(maker.counts.values())
        counts = {**maker.counts, "accepted": accepted}
        connection.execute(insert(Tally), [{"name": name, "shard": "bench", "count": number} for name, number in counts.items()])
    for index in indexes:
        print(f"\r  {time.monotonic() - begun:6.0f} s  {index.name}".ljust(70), end="", file=sys.stderr, flush=True)
        index.create(owner)
    if owner.dialect.name == "postgresql":
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    print(f"\r  {maker.messages} messages, {maker.counts}: {time.monotonic() - begun:.0f} s".ljust(70), file=sys.stderr)


def _progress(maker: Maker, plan: Plan, begun: float) -> None:
    seconds = time.monotonic() - begun
    text = f"\r  {seconds:6.0f} s  {maker.deliveries:>11,} of {plan.deliveries:,} deliveries"
    print(text, end="", file=sys.stderr, flush=True)


def _sqlite(owner: Engine, maker: Maker, plan: Plan, begun: float) -> None:
    path = make_url(str(owner.url)).database
    owner.dispose()
    assert path is not None
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000", "locking_mode=EXCLUSIVE"):
        connection.execute(f"PRAGMA {pragma}")
    for batch in maker.batches(BATCH):
        connection.execute("BEGIN")
        for name, rows in batch.items():
            if rows:
                connection.executemany(f"INSERT INTO {name} ({_columns(name)}) VALUES ({', '.join('?' * len(rows[0]))})", rows)
        connection.execute("COMMIT")
        _progress(maker, plan, begun)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _postgresql(owner: Engine, maker: Maker, plan: Plan, begun: float) -> None:
    url = owner.url
    query: dict[str, Any] = dict(url.query)
    with psycopg.connect(host=query["host"], port=query["port"], user=url.username, dbname=url.database) as connection:
        for batch in maker.batches(BATCH):
            with connection.cursor() as cursor:
                for name, rows in batch.items():
                    if not rows:
                        continue
                    with cursor.copy(f"COPY {name} ({_columns(name)}) FROM STDIN".encode()) as copy:
                        copy.write("".join("\t".join(map(_cell, row)) + "\n" for row in rows).encode())
            connection.commit()
            _progress(maker, plan, begun)


def _columns(table: str) -> str:
    return ", ".join(TABLES[table].columns.keys())


def _cell(value: object) -> str:
    """In the text format of COPY."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value).replace("\\", "\\\\")


def size_of(owner_engine: Engine) -> int:
    """Octets of the store on the disk."""
    if owner_engine.dialect.name == "sqlite":
        path = Path(str(owner_engine.url.database))
        return sum(Path(f"{path}{suffix}").stat().st_size for suffix in ("", "-wal") if Path(f"{path}{suffix}").exists())
    with owner_engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar() or 0)
