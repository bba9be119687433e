"""What people may do to the relay: a name, a role, and a function over the services of the process that writes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from relay.control.actor import Actor, Role
from relay.model.decision import Epoch
from relay.model.errors import OperationRefused
from relay.model.ports import Clock
from relay.model.text import printable
from relay.policy.models import Policy
from relay.settings.models import Settings
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.spool.ports import Spool

MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class Services:
    """What an operation may use. `in_force` gives policy and epoch; `changed` is awaited when something was changed."""

    settings: Settings
    journal: Journal
    reader: Reader
    spool: Spool
    clock: Clock
    in_force: Callable[[], tuple[Policy, Epoch]]
    changed: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`run(services, actor, params)` gives plain JSON values, or raises OperationRefused. `role` None: whoever has any role.
    `needs_reason`: it changes something, or reads what is somebody's."""

    name: str
    role: Role | None
    run: Callable[[Services, Actor, dict[str, Any]], Awaitable[dict[str, Any]]]
    needs_reason: bool = True


async def perform(operation: Operation, services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """Checks role and reason, then runs it. Raises OperationRefused."""
    if not actor.roles or (operation.role is not None and operation.role not in actor.roles):
        wanted = operation.role.value if operation.role else "of anybody who works with the relay"
        raise OperationRefused(f"{actor.name} has not the role {wanted}")
    if operation.needs_reason:
        reason = params.get("reason")
        if not isinstance(reason, str) or not reason.strip():
            raise OperationRefused("a reason is needed (--reason)")
        if len(reason) > MAX_REASON or printable(reason, MAX_REASON) != reason:
            raise OperationRefused(f"the reason must be printable text of at most {MAX_REASON} characters")
    return await operation.run(services, actor, params)
