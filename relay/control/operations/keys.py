"""Spool keys: a new pair, and every body key wrapped to it; bodies are not touched."""

import asyncio
import logging
from typing import Any

from relay.audit.event import write
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.params import Reasoned, parsed
from relay.control.person import person_event
from relay.model.errors import OperationRefused
from relay.store.spool.keys import load_keys, new_keypair

log = logging.getLogger("sluis.keys")


async def _rotate(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Reasoned, params)
    settings = services.settings.spool
    if settings.private_keys is None:
        raise OperationRefused("this process does not hold the private keys")
    try:
        identity = new_keypair(settings.public_key, settings.private_keys)
    except OSError as error:
        raise OperationRefused(f"no new key could be written: {error}") from None
    services.spool.keys = load_keys(settings.public_key, settings.private_keys)
    rewrapped, failed = await asyncio.to_thread(_rewrap, services)
    what, result = f"spool key {identity.hex()}", f"{rewrapped} bodies"
    event = person_event(services, actor, "keys-rotated", object_=what, result=result, reason=asked.reason, details={"failed": failed})
    await services.journal.submit(lambda connection: write(connection, [event]))
    return {"key": identity.hex(), "rewrapped": rewrapped, "failed": failed}


def _rewrap(services: Services) -> tuple[int, int]:
    """Old private keys stay where they are: a body that could not be rewrapped can still be read."""
    left: list[str] = []

    def failed(name: str, error: Exception) -> None:
        left.append(name)
        log.error("a body key could not be rewrapped", extra={"fields": {"object": name, "error": str(error)}})

    return services.spool.rewrap(failed), len(left)


OPERATIONS = (Operation("keys.rotate", Role.ADMIN, _rotate),)
