"""A pool of workers for one test, real or misbehaving."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from relay.inspect.pool import InspectJob, InspectPool
from relay.model.features import Inspection
from relay.settings.models import Clamd, Settings
from relay.settings.models import Inspection as Limits

REAL = "relay.app.inspect_worker"
MISBEHAVING = "tests.stages.inspect.misbehaving_worker"
Result = TypeVar("Result")


@asynccontextmanager
async def pool(module: str = REAL, clamd: Clamd | None = None, **limits: Any) -> AsyncIterator[InspectPool]:
    """One worker, unless a test says otherwise."""
    settings = Settings(hostname="relay.example.nl", clamd=clamd or Clamd(), inspection=Limits(**{"workers": 1, **limits}))
    workers = InspectPool(settings, module)
    try:
        await workers.start()
        yield workers
    finally:
        await workers.close()


def run(dialogue: Callable[[], Awaitable[Result]], seconds: float = 60) -> Result:
    """To its end, and no longer than `seconds`."""

    async def bounded() -> Result:
        async with asyncio.timeout(seconds):
            return await dialogue()

    return asyncio.run(bounded())


def job(body: bytes) -> InspectJob:
    """A message in memory."""
    return InspectJob("test", len(body), "relay.example.nl", body=body)


def asked(action: str, folder: Path, **limits: Any) -> Inspection:
    """What a misbehaving worker answers."""

    async def dialogue() -> Inspection:
        async with pool(MISBEHAVING, rules=folder, **limits) as workers:
            return await workers.inspect(job(action.encode()))

    return run(dialogue)
