"""A message of the record as a case that can be decided again: without its body, from what was known of it then."""

from collections.abc import Sequence
from typing import Any

from relay.model.case import Case
from relay.model.client import Side
from relay.model.features import Inspection
from relay.store.codec import recipient_from_json


def case_from(message: Any, deliveries: Sequence[Any]) -> Case:
    """`message` is a row of `message`, `deliveries` are rows of `delivery`, those that are asked about."""
    return Case(
        client=message.client,
        side=Side(message.peer["side"]),
        sender=message.sender,
        recipients=tuple(recipient_from_json(row.envelope) for row in deliveries),
        size=message.size,
        tls=message.peer.get("tls") is not None,
        authorised=message.authorised,
        inspection=Inspection.from_json(message.inspection),
        recipients_total=message.recipients,
        received_us=message.received_us,
    )
