"""Statements that every message runs. SQLAlchemy writes their text, once for each kind of database; the driver runs it.

SQLAlchemy's own execution costs 35 us a statement and several a row (keys, contexts, results), more than SQLite needs for the work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import Executable

Result = TypeVar("Result")
_STYLES = {"sqlite": "qmark", "postgresql": "format"}
"""How both drivers take the values of a row in their order (PEP 249)."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """`processors` bring values into the form of the driver: by place."""

    text: str
    get: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    processors: tuple[tuple[int, Callable[[Any], Any]], ...]

    def values(self, row: Mapping[str, Any]) -> list[Any]:
        found = list(self.get(row))
        for place, process in self.processors:
            found[place] = process(found[place])
        return found


class Hot:
    """An INSERT of whole rows, or a statement whose every value is a `bindparam` (a constant is a `literal_column`). Rows are mappings by
    these names. The caller has begun a transaction. Raises DBAPIError as SQLAlchemy does."""

    def __init__(self, statement: Executable) -> None:
        self._statement: Any = statement
        self._prepared: dict[str, _Prepared] = {}

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Once for each of `rows`, of which there is one at least. Gives how many rows of the table that changed."""
        prepared = self._prepare(connection)
        values = [prepared.values(row) for row in rows]

        def work(cursor: Any) -> int:
            cursor.executemany(prepared.text, values)
            return int(cursor.rowcount)

        return _by_driver(connection, prepared.text, work)

    def each(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...] | None]:
        """The same with RETURNING: for each of `rows` the first row that comes back, as the driver gives it, or None."""
        prepared = self._prepare(connection)
        values = [prepared.values(row) for row in rows]
        if connection.dialect.name == "sqlite":
            return _by_driver(connection, prepared.text, lambda cursor: [cursor.execute(prepared.text, one).fetchone() for one in values])

        def work(cursor: Any) -> list[tuple[Any, ...] | None]:
            cursor.executemany(prepared.text, values, returning=True)
            found = [cursor.fetchone()]
            while cursor.nextset():
                found.append(cursor.fetchone())
            return found

        return _by_driver(connection, prepared.text, work)

    def all(self, connection: Connection) -> list[tuple[Any, ...]]:
        """What a SELECT without values finds, as the driver gives it."""
        text = self._prepare(connection).text
        return _by_driver(connection, text, lambda cursor: list(cursor.execute(text).fetchall()))

    def _prepare(self, connection: Connection) -> _Prepared:
        dialect: Any = connection.dialect
        prepared = self._prepared.get(dialect.name)
        if prepared is None:
            compiled = self._statement.compile(dialect=type(dialect)(paramstyle=_STYLES[dialect.name]))
            names = compiled.positiontup
            if constants := [name for name in names if not compiled.binds[name].required]:
                raise ValueError(f"values that no row gives: {constants}")
            found = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
            processors = tuple((place, processor) for place, processor in enumerate(found) if processor is not None)
            prepared = self._prepared[dialect.name] = _Prepared(compiled.string, _getter(names), processors)
        return prepared


def run_text(connection: Connection, text: str) -> None:
    """What has no values, such as BEGIN IMMEDIATE."""
    _by_driver(connection, text, lambda cursor: cursor.execute(text))


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple(row[name] for name in names)


def _by_driver(connection: Connection, statement: str, work: Callable[[Any], Result]) -> Result:
    """What `work` does with a cursor of the driver, whose errors become those of SQLAlchemy."""
    driver: Any = connection.connection.driver_connection
    dialect: Any = connection.dialect
    cursor = driver.cursor()
    try:
        return work(cursor)
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, driver, cursor)
        if lost:
            connection.invalidate(error)
        base = dialect.loaded_dbapi.Error
        raise DBAPIError.instance(statement, None, error, base, connection_invalidated=lost, dialect=dialect) from error
    finally:
        cursor.close()
