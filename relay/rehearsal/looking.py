"""The real readers and inspectors for a rehearsal, in confined workers of their own, without clamd."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.inspect.pool import InspectJob, InspectPool
from relay.model.features import Inspection
from relay.policy.models import Policy
from relay.rehearsal.stand import Inspect
from relay.settings.models import Settings


@asynccontextmanager
async def looking(settings: Settings, worker: str) -> AsyncIterator[Inspect]:
    """`worker` is the module that a worker runs. Raises WorkerFailed."""
    inspection = settings.inspection.model_copy(update={"workers": 1})
    clamd = settings.clamd.model_copy(update={"socket": None})
    pool = InspectPool(settings.model_copy(update={"inspection": inspection, "clamd": clamd}), worker)
    await pool.start()

    async def inspect(octets: bytes, policy: Policy) -> Inspection:
        return await pool.inspect(InspectJob("rehearsal", len(octets), policy.organisation.authserv_id, body=octets))

    try:
        yield inspect
    finally:
        await pool.close()
