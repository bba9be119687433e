"""Copies every table from one store into an empty one, of the other kind too, and proves that both hold the same rows.

The copy can be interrupted: a row in the target's `control` says what is being copied from where, so that it goes on only from the same
source, and nothing uses a store that is half there.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, insert, literal, select, tuple_, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

from relay.model.errors import StoreError
from relay.store import tables

assert tables
TABLES: tuple[Table, ...] = tuple(SQLModel.metadata.sorted_tables)
PAGE = 1000
CONTROL = SQLModel.metadata.tables["control"]
EVENT = SQLModel.metadata.tables["event"]
ROW = "transfer"
"""The name of the row in `control`; it is no part of what is copied."""
_MODULUS = 1 << 256

Progress = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The rows of a table. `digest` does not depend on their order: databases sort text in their own ways."""

    rows: int
    digest: str


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """The store as it is at one moment, whatever is written meanwhile. Raises StoreError."""
    try:
        with engine.connect() as connection:
            snapshot = "BEGIN" if connection.dialect.name == "sqlite" else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
            connection.exec_driver_sql(snapshot)
            yield connection
            connection.rollback()
    except SQLAlchemyError as error:
        raise StoreError(f"the store can't be read: {error.args[0]}") from None


def filled_tables(connection: Connection) -> list[str]:
    """Those that hold anything."""
    return [table.name for table in TABLES if connection.execute(select(table).limit(1)).first() is not None]


def unfinished(connection: Connection) -> str | None:
    """What was to be copied into this store and is not all there yet, such as `restore`."""
    value = _row(connection)
    return str(value["what"]) if value is not None and not value["done"] else None


def begin(source: Connection, target: Engine, what: str) -> bool:
    """Whether it goes on where it was interrupted. Raises StoreError: the target holds something else, or the source is not the same."""
    origin = _origin(source)
    with _writing(target) as connection:
        found = _row(connection)
        if found is None:
            filled = filled_tables(connection)
            if filled:
                raise StoreError(f"the target is not empty: it has rows in {', '.join(filled)}")
            connection.execute(insert(CONTROL).values(name=ROW, value={"what": what, "source": origin, "done": False}, epoch=1))
            return False
        if found["done"]:
            raise StoreError("the target is not empty: a copy into it was finished before")
        if (found["what"], found["source"]) != (what, origin):
            raise StoreError(
                f"the target holds an interrupted {found['what']} of another source, or the source was used since: empty the target first"
            )
        return True


def copy(source: Connection, target: Engine, progress: Progress) -> None:
    """Every row that is not there yet, page by page, each page one commit. Raises StoreError."""
    for table in TABLES:
        total = source.execute(select(func.count()).select_from(table)).scalar() or 0
        done = 0
        progress(table.name, 0, total)
        for page in _pages(source, table):
            with _writing(target) as connection:
                new = _absent(connection, table, page)
                if new:
                    connection.execute(insert(table), new)
            done += len(page)
            progress(table.name, done, total)


def compare(source: Connection, target: Connection, progress: Progress) -> dict[str, Contents]:
    """The contents of each table, the same in both. Raises StoreError that names every table that differs."""
    found: dict[str, Contents] = {}
    different = []
    for number, table in enumerate(TABLES):
        progress("comparing", number, len(TABLES))
        here, there = contents(source, table), contents(target, table)
        if here != there:
            different.append(f"{table.name} ({here.rows} rows, the copy has {there.rows})")
        found[table.name] = here
    progress("comparing", len(TABLES), len(TABLES))
    if different:
        raise StoreError(f"the copy is not the same: {', '.join(different)}")
    return found


def finish(connection: Connection) -> None:
    """The store may be used from the commit on."""
    found = _row(connection)
    assert found is not None
    connection.execute(update(CONTROL).where(CONTROL.c.name == ROW).values(value={**found, "done": True}))


def contents(connection: Connection, table: Table) -> Contents:
    """Count and digest: the sum of the SHA-256 of each row, so that one row too many, too few or other changes it."""
    rows = 0
    total = 0
    for page in _pages(connection, table):
        rows += len(page)
        for row in page:
            total = (total + int.from_bytes(hashlib.sha256(_canonical(row)).digest())) % _MODULUS
    return Contents(rows, f"{total:064x}")


def _canonical(row: dict[str, Any]) -> bytes:
    return json.dumps(row, sort_keys=True, ensure_ascii=True, default=_plain).encode()


def _plain(value: Any) -> str:
    if isinstance(value, uuid.UUID):
        return f"uuid {value.hex}"
    if isinstance(value, (bytes, memoryview)):
        return f"octets {bytes(value).hex()}"
    raise TypeError(f"no column holds {type(value)}")


def _pages(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    """Keyset pages in the order of the primary key."""
    key = list(table.primary_key.columns)
    after: tuple[Any, ...] | None = None
    while True:
        query = select(table).order_by(*key).limit(PAGE)
        if table is CONTROL:
            query = query.where(CONTROL.c.name != ROW)
        if after is not None:
            query = query.where(tuple_(*key) > tuple_(*(literal(value, column.type) for value, column in zip(after, key, strict=True))))
        page = [dict(row._mapping) for row in connection.execute(query)]
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = tuple(page[-1][column.name] for column in key)


def _absent(connection: Connection, table: Table, page: list[dict[str, Any]]) -> list[dict[str, Any]]:
    key = list(table.primary_key.columns)
    first = key[0]
    asked = {row[first.name] for row in page}  # by value: the databases may sort text in different ways
    there = {tuple(row) for row in connection.execute(select(*key).where(first.in_(asked)))}
    return [row for row in page if tuple(row[column.name] for column in key) not in there]


def _origin(source: Connection) -> str:
    """The newest event: a source that was used since has a newer one."""
    newest = source.execute(select(EVENT.c.id).order_by(EVENT.c.id.desc()).limit(1)).scalar()
    return newest.hex if newest is not None else "a store without events"


def _row(connection: Connection) -> dict[str, Any] | None:
    value: dict[str, Any] | None = connection.execute(select(CONTROL.c.value).where(CONTROL.c.name == ROW)).scalar()
    return value


@contextmanager
def _writing(target: Engine) -> Iterator[Connection]:
    try:
        with target.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    except SQLAlchemyError as error:
        raise StoreError(f"the target refused: {error.args[0]}") from None
