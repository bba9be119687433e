"""What people (and the balance) do to policy, phase and brake: the change and its event in one transaction."""

import uuid

from sqlalchemy import Connection

from relay.audit.event import make_event, write
from relay.phases import state

PROCESS = "process"
BEFORE = "; and before that: "
"""Between the reason of now and that of before."""


def pull_brake(connection: Connection, actor: str, reason: str, now_us: int, origin: str = PROCESS) -> bool:
    """Nothing leaves from the commit on. False where the brake was on already."""
    found = state.read(connection)
    if found.brake:
        return False
    state.set_brake(connection, True, reason, found.brake_fence)
    _tell(connection, "brake", "brake", "on", origin, actor, reason, now_us)
    return True


def hold_brake(connection: Connection, actor: str, reason: str, now_us: int, origin: str = PROCESS) -> uuid.UUID:
    """The brake is on, for this reason too: what was asked about an earlier reason does not let it go. Gives the id of the event."""
    found = state.read(connection)
    other = found.brake_reason if found.brake and found.brake_reason != reason else ""
    state.set_brake(connection, True, f"{reason}{BEFORE}{other}" if other else reason, found.brake_fence)
    return _tell(connection, "brake", "brake", "on", origin, actor, reason, now_us)


def release_brake(connection: Connection, actor: str, reason: str, now_us: int, origin: str = PROCESS) -> bool:
    """Lets go. False where the brake was off already."""
    found = state.read(connection)
    if not found.brake:
        return False
    state.set_brake(connection, False, reason, found.brake_fence)
    _tell(connection, "brake", "brake", "off", origin, actor, reason, now_us)
    return True


def set_phase(connection: Connection, phase: str, actor: str, reason: str, now_us: int, origin: str = PROCESS) -> None:
    """Raises ChangedMeanwhile."""
    found = state.read(connection)
    state.set_phase(connection, phase, found.phase_fence)
    _tell(connection, "phase", f"phase {found.phase or '(first)'}", phase, origin, actor, reason, now_us)


def set_policy(connection: Connection, digest: str, actor: str, reason: str, now_us: int, origin: str = PROCESS) -> bool:
    """In force on all machines from the commit on. False where it was in force already. Raises ChangedMeanwhile."""
    found = state.read(connection)
    if found.policy == digest:
        return False
    state.set_policy(connection, digest, found.policy_fence)
    _tell(connection, "policy", f"policy {found.policy or '(first)'}", digest, origin, actor, reason, now_us)
    return True


def _tell(connection: Connection, kind: str, object_: str, result: str, origin: str, actor: str, reason: str, now_us: int) -> uuid.UUID:
    event = make_event(kind, object_=object_, result=result, origin=origin, actor=actor, time_us=now_us, reason=reason)
    write(connection, [event])
    return event.id
