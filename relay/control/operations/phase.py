"""Phase and brake. What closes takes one person; what opens takes two (promise 9)."""

from typing import Any

from sqlalchemy import Connection

from relay.control import requests
from relay.control.actor import Actor, Role
from relay.control.change import ORIGIN
from relay.control.operation import Operation, OperationRefused, Services
from relay.control.params import Strict, parsed
from relay.phases import change, state


class Setting(Strict):
    """The phase to set, and why."""

    phase: str
    reason: str


async def _show(services: Services, _: Actor, __: dict[str, Any]) -> dict[str, Any]:
    policy, epoch = services.in_force()
    found = await services.reader.read(state.read)
    return {
        "phase": epoch.phase,
        "phases": list(policy.organisation.phases),
        "brake": found.brake,
        "brake_reason": found.brake_reason,
        "policy": epoch.policy,
    }


async def _set(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Setting, params)
    policy, epoch = services.in_force()
    phases = policy.organisation.phases
    if asked.phase not in phases:
        raise OperationRefused(f"no phase is named '{asked.phase}'; there are {', '.join(phases)}")
    if asked.phase == epoch.phase:
        raise OperationRefused(f"the phase is {asked.phase} already")
    opens = phases.index(asked.phase) > phases.index(epoch.phase)

    def work(connection: Connection) -> dict[str, Any]:
        details = {"phase": asked.phase, "from": epoch.phase}
        return requests.ask(connection, services, actor, "phase", details, asked.reason, second=opens)

    result = await services.journal.submit(work)
    await services.changed()
    return result


def _carry_phase(connection: Connection, services: Services, row: Any) -> dict[str, Any]:
    _, epoch = services.in_force()
    if row.details["from"] != epoch.phase:
        raise OperationRefused(f"the phase has become {epoch.phase} since this was asked: ask again")
    change.set_phase(connection, row.details["phase"], row.actor, row.reason, services.clock.now_us(), ORIGIN)
    return {"phase": row.details["phase"]}


async def _brake_on(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """One person, whatever their role, at once."""
    now_us = services.clock.now_us()
    work = await services.journal.submit(lambda connection: change.pull_brake(connection, actor.name, params["reason"], now_us, ORIGIN))
    await services.changed()
    return {"brake": True, "changed": work}


async def _brake_off(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    found = await services.reader.read(state.read)
    if not found.brake:
        raise OperationRefused("the brake is off already")

    def work(connection: Connection) -> dict[str, Any]:
        details = {"brake": False, "pulled_because": found.brake_reason}
        return requests.ask(connection, services, actor, "brake", details, params["reason"], second=True)

    result = await services.journal.submit(work)
    await services.changed()
    return result


def _carry_brake(connection: Connection, services: Services, row: Any) -> dict[str, Any]:
    change.release_brake(connection, row.actor, row.reason, services.clock.now_us(), ORIGIN)
    return {"brake": False}


requests.CARRIERS["phase"] = _carry_phase
requests.CARRIERS["brake"] = _carry_brake

OPERATIONS = (
    Operation("phase.show", None, _show, needs_reason=False),
    Operation("phase.set", Role.ADMIN, _set),
    Operation("brake.on", None, _brake_on),
    Operation("brake.off", Role.ADMIN, _brake_off),
)
