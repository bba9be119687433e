"""Brings a body to an inspect worker: its bytes while they are in memory, else its file and the key of this one body."""

from relay.inspect.pool import InspectJob, InspectPool
from relay.model.features import Inspection
from relay.model.message import Body
from relay.policy.models import Policy
from relay.store.spool.ports import Spool


class BodyInspector:
    """An InspectBody (relay/judge.py)."""

    def __init__(self, pool: InspectPool, spool: Spool) -> None:
        self._pool = pool
        self._spool = spool

    async def __call__(self, body: Body, policy: Policy, authenticate: bool) -> Inspection:
        authserv_id, body_hash = policy.organisation.authserv_id, body.body_hash if authenticate else ""
        if body.bytes is not None:
            return await self._pool.inspect(InspectJob(body.object, body.size, authserv_id, body=body.bytes, body_hash=body_hash))
        async with self._spool.local(body) as found:
            job = InspectJob(found.name, body.size, authserv_id, path=found.path, key=found.key, body_hash=body_hash)
            return await self._pool.inspect(job)
