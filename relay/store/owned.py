"""Which bodies have an owner, for the sweep: a row that names them, or a time of which rows may be lost."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Connection, select

from relay.store.high_water import Gap
from relay.store.spool.ports import identity_of
from relay.store.tables import Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
PAGE = 500


def owned(connection: Connection, names: Sequence[str], gaps: Sequence[Gap]) -> set[str]:
    """Those of `names` that are somebody's. A body bears the id of its message, by which a row is found at once; what was made in one of
    `gaps` may have lost its row. A name that is not ours is nobody's."""
    found = {name: identity for name in names if (identity := _identity(name)) is not None}
    spared = {name for name, identity in found.items() if any(gap.covers(identity) for gap in gaps)}
    wanted = [identity for name, identity in found.items() if name not in spared]
    for start in range(0, len(wanted), PAGE):
        query = select(MESSAGE.c.spool_object).where(MESSAGE.c.id.in_(wanted[start : start + PAGE]), MESSAGE.c.spool_object.is_not(None))
        spared |= set(connection.execute(query).scalars())
    return spared


def _identity(name: str) -> uuid.UUID | None:
    try:
        return identity_of(name)
    except ValueError:
        return None
