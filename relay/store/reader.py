"""Short reads beside the one writer, in a few threads of their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from relay.model.errors import StoreError

Result = TypeVar("Result")


class Reader:
    """Each read is a transaction of its own that changes nothing, and sees the store as it was at one moment, whatever it asks."""

    def __init__(self, engine: Engine, threads: int = 4) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """Raises StoreError where the database refused or was lost."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.read_now, work)

    def read_now(self, work: Callable[[Connection], Result]) -> Result:
        """The same for a caller without an event loop."""
        try:
            with self._engine.connect() as connection:
                snapshot = "BEGIN" if connection.dialect.name == "sqlite" else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
                connection.exec_driver_sql(snapshot)
                result = work(connection)
                connection.rollback()
                return result
        except SQLAlchemyError as error:
            raise StoreError(f"the store can't be read: {error.args[0]}") from None

    def close(self) -> None:
        self._threads.shutdown()
