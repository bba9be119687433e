"""The operations of the relay itself; those of the review desk are in `quarantine`."""

from relay.control.operation import Operation
from relay.control.operations import audit, backup, keys, message, phase, policy, queue, request, rollout, store

OPERATIONS: tuple[Operation, ...] = (
    *phase.OPERATIONS,
    *policy.OPERATIONS,
    *rollout.OPERATIONS,
    *queue.OPERATIONS,
    *message.OPERATIONS,
    *audit.OPERATIONS,
    *keys.OPERATIONS,
    *store.OPERATIONS,
    *request.OPERATIONS,
    *backup.OPERATIONS,
)
