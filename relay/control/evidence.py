"""What a rule keeps as evidence: it never leaves, and is not deleted while it is kept."""

from typing import Any

from sqlalchemy import Connection, select

from relay.model.effects import Effects
from relay.model.errors import OperationRefused
from relay.store.tables import Kept

KEPT = Kept.__table__  # type: ignore[attr-defined]


def refuse_evidence(row: Any) -> None:
    """Whatever would bring a delivery on its way asks here first: `row` has its columns. Raises OperationRefused."""
    if Effects.from_json(row.effects).keep:
        raise OperationRefused("a rule keeps it as evidence: it can never be released")


def refuse_kept(connection: Connection, row: Any) -> None:
    """Evidence may be deleted when somebody with a reason has said that it need not be kept any more (message.unkeep). Raises
    OperationRefused."""
    if not Effects.from_json(row.effects).keep:
        return
    if connection.execute(select(KEPT.c.message_id).where(KEPT.c.message_id == row.message_id)).first() is not None:
        raise OperationRefused("a rule keeps it as evidence: an admin ends that first (sluis message unkeep)")
