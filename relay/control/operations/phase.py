"""Phase and brake. What closes takes one person; what opens takes two (promise 9)."""

from typing import Any

from sqlalchemy import Connection

from relay.control import requests
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.params import Nothing, Reasoned, Text, parsed
from relay.control.person import ORIGIN
from relay.model.errors import OperationRefused
from relay.phases import change, state
from relay.phases.state import PhaseState


class Setting(Reasoned):
    """The phase to set."""

    phase: Text


async def _show(services: Services, _: Actor, params: dict[str, Any]) -> dict[str, Any]:
    parsed(Nothing, params)
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

    def work(connection: Connection) -> dict[str, Any]:
        """What is so in the store counts, not what this process saw a moment ago: whether it opens depends on it."""
        found = state.read(connection)
        phases, current = _phases(services, found)
        if asked.phase not in phases:
            raise OperationRefused(f"no phase is named '{asked.phase}'; there are {', '.join(phases)}")
        if asked.phase == current:
            raise OperationRefused(f"the phase is {asked.phase} already")
        opens = phases.index(asked.phase) > phases.index(current)
        details = {"phase": asked.phase, "from": current, "fence": found.phase_fence}
        return requests.ask(connection, services, actor, "phase", details, asked.reason, second=opens)

    result = await services.journal.submit(work)
    await services.changed()
    return result


def _phases(services: Services, found: PhaseState) -> tuple[tuple[str, ...], str]:
    """Those of the policy, from closed to open, and the one that holds."""
    policy, _ = services.in_force()
    phases = policy.organisation.phases
    return phases, found.phase if found.phase in phases else phases[0]


def _carry_phase(connection: Connection, services: Services, row: Any) -> dict[str, Any]:
    found = state.read(connection)
    phases, current = _phases(services, found)
    if row.details["from"] != current or row.details["fence"] != found.phase_fence:
        raise OperationRefused(f"the phase was changed since this was asked, it is {current} now: {requests.AGAIN}")
    if row.details["phase"] not in phases:
        raise OperationRefused(f"no phase is named '{row.details['phase']}' any more: {requests.AGAIN}")
    change.set_phase(connection, row.details["phase"], row.actor, row.reason, services.clock.now_us(), ORIGIN)
    return {"phase": row.details["phase"]}


async def _brake_on(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """One person, whatever their role, at once."""
    asked = parsed(Reasoned, params)
    now_us = services.clock.now_us()
    pulled = await services.journal.submit(lambda connection: change.pull_brake(connection, actor.name, asked.reason, now_us, ORIGIN))
    await services.changed()
    return {"brake": True, "changed": pulled}


async def _brake_off(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Reasoned, params)

    def work(connection: Connection) -> dict[str, Any]:
        found = state.read(connection)
        if not found.brake:
            raise OperationRefused("the brake is off already")
        details = {"brake": False, "pulled_because": found.brake_reason, "fence": found.brake_fence}
        return requests.ask(connection, services, actor, "brake", details, asked.reason, second=True)

    result = await services.journal.submit(work)
    await services.changed()
    return result


def _carry_brake(connection: Connection, services: Services, row: Any) -> dict[str, Any]:
    """It lets go what was pulled then, for the reason of then."""
    found = state.read(connection)
    if not found.brake or found.brake_fence != row.details["fence"]:
        now = f"it is on for another reason: {found.brake_reason}" if found.brake else "it is off now"
        raise OperationRefused(f"the brake was let go since this was asked, {now}: {requests.AGAIN}")
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
