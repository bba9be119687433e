"""The rows of `control`: which policy is in force, which phase is open, and whether the brake is on."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, literal_column, select, update

from relay.model.errors import SluisError
from relay.store.hot import Hot
from relay.store.tables import Control

CONTROL = Control.__table__  # type: ignore[attr-defined]


Fences = tuple[int, int, int]
"""Of phase, brake and policy."""


class ChangedMeanwhile(SluisError):
    """Somebody else changed it first: look again before you change it."""


@dataclass(frozen=True, slots=True)
class PhaseState:
    """`phase` None: never set, so the first of the policy. `policy` is a digest; None: none was ever applied. Fences rise with each
    change."""

    phase: str | None
    brake: bool
    brake_reason: str
    phase_fence: int
    brake_fence: int
    policy: str | None = None
    policy_fence: int = 0

    @property
    def fences(self) -> "Fences":
        """What changes with every change."""
        return self.phase_fence, self.brake_fence, self.policy_fence


_LOCK = 0x536C756973  # one number for the whole database (PostgreSQL documentation, advisory locks)
_LOCK_SHARED = Hot(select(func.pg_advisory_xact_lock_shared(literal_column(str(_LOCK)))))
_FENCED = ("phase", "brake", "policy")  # in the order of Fences
_FENCES = Hot(select(CONTROL.c.name, CONTROL.c.epoch).where(CONTROL.c.name.in_([literal_column(f"'{name}'") for name in _FENCED])))


def read(connection: Connection) -> PhaseState:
    """The state as it is."""
    rows = {row.name: row for row in connection.execute(select(CONTROL).where(CONTROL.c.name.in_(_FENCED)))}
    phase, brake, policy = rows.get("phase"), rows.get("brake"), rows.get("policy")
    return PhaseState(
        phase=phase.value["phase"] if phase else None,
        brake=bool(brake and brake.value["on"]),
        brake_reason=brake.value["reason"] if brake else "",
        phase_fence=phase.epoch if phase else 0,
        brake_fence=brake.epoch if brake else 0,
        policy=policy.value["digest"] if policy else None,
        policy_fence=policy.epoch if policy else 0,
    )


def set_phase(connection: Connection, phase: str, fence: int) -> None:
    """`fence` is that of the state which was looked at. Raises ChangedMeanwhile."""
    _set(connection, "phase", {"phase": phase}, fence)


def set_brake(connection: Connection, on: bool, reason: str, fence: int) -> None:
    """Raises ChangedMeanwhile."""
    _set(connection, "brake", {"on": on, "reason": reason}, fence)


def set_policy(connection: Connection, digest: str, fence: int) -> None:
    """Raises ChangedMeanwhile."""
    _set(connection, "policy", {"digest": digest}, fence)


def check(connection: Connection, fences: Fences) -> None:
    """Raises ChangedMeanwhile unless policy, phase and brake are those of `fences`; they stay so until the transaction ends."""
    if connection.dialect.name == "postgresql":  # on SQLite one process writes, one transaction after the other
        _LOCK_SHARED.all(connection)
    found: dict[str, int] = dict(_FENCES.all(connection))
    if tuple(found.get(name, 0) for name in _FENCED) != fences:
        raise ChangedMeanwhile("the policy, the phase or the brake was changed")


def _set(connection: Connection, name: str, value: dict[str, Any], fence: int) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if fence == 0 and connection.execute(select(CONTROL.c.name).where(CONTROL.c.name == name)).first() is None:
        connection.execute(insert(CONTROL).values(name=name, value=value, epoch=1))
        return
    where = (CONTROL.c.name == name) & (CONTROL.c.epoch == fence)
    if connection.execute(update(CONTROL).where(where).values(value=value, epoch=fence + 1)).rowcount != 1:
        raise ChangedMeanwhile(f"the {name} was changed by somebody else meanwhile")
