"""What a message was found to be when it was inspected again; recipients that were decided on what was known before keep that."""

from typing import Any

from sqlalchemy import Connection, select, update

from relay.model.features import Inspection
from relay.model.message import Claimed
from relay.store.tables import Delivery, Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]


def inspected_again(connection: Connection, claimed: Claimed, inspection: Inspection) -> None:
    """Writes the new inspection of the message, in the transaction that writes the decisions on the recipients of the claim."""
    identity, new = claimed.message.id, inspection.to_json()
    if len(claimed.tickets) < claimed.message.recipients_total:
        # Read here and not taken from the claim: a claim on other recipients may have inspected it in between.
        before = connection.execute(select(MESSAGE.c.inspection).where(MESSAGE.c.id == identity).with_for_update()).scalar_one()
        if _decides(before) != _decides(new):
            others = DELIVERY.c.ordinal.not_in([ticket.ordinal for ticket in claimed.tickets])
            where = (DELIVERY.c.message_id == identity) & others & DELIVERY.c.inspection.is_(None)
            connection.execute(update(DELIVERY).where(where).values(inspection=before))
    connection.execute(update(MESSAGE).where(MESSAGE.c.id == identity).values(inspection=new))


def _decides(inspection: dict[str, Any]) -> Inspection:
    """Without the versions of scanners, which change daily and decide nothing."""
    return Inspection.from_json({**inspection, "versions": ()})
