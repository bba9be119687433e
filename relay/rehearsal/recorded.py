"""A message of the record as a case that can be decided again: without its body, from what was known of it then."""

from collections.abc import Mapping, Sequence
from typing import Any

from relay.model.case import Case
from relay.model.client import Side
from relay.model.decision import Epoch, Release
from relay.model.features import Inspection
from relay.policy.builtin import BRAKE
from relay.store.codec import recipient_from_json, release_from_json


def case_from(message: Any, deliveries: Sequence[Any], inspection: Mapping[str, Any] | None = None) -> Case:
    """`message` is a row of `message`, `deliveries` are rows of `delivery`, those that are asked about, decided on the same inspection.
    `inspection`: that one, instead of what the rows hold."""
    return Case(
        client=message.client,
        side=Side(message.peer["side"]),
        sender=message.sender,
        recipients=tuple(recipient_from_json(row.envelope) for row in deliveries),
        size=message.size,
        tls=message.peer.get("tls") is not None,
        authorised=message.authorised,
        inspection=Inspection.from_json(dict(inspection or deliveries[0].inspection or message.inspection)),
        recipients_total=message.recipients,
        received_us=message.received_us,
    )


def epoch_of(delivery: Any) -> Epoch:
    """In which it was decided."""
    return Epoch(delivery.policy, delivery.phase, braked(delivery))


def braked(delivery: Any) -> bool:
    """Whether the brake was on: a rule that always matches then, and that nothing takes away."""
    return any(match["rule"] == BRAKE for match in delivery.rules)


def release_of(delivery: Any) -> Release | None:
    """The release that the decision rests on. One that came later, and has not been decided on yet, has taken no rule away; one that did
    not fit what was found took none away either, and to decide without it comes to the same."""
    if delivery.release is None or _releases(delivery) != {f"release {delivery.release['request']}"}:
        return None
    return release_from_json(delivery.release)


def release_lost(delivery: Any) -> bool:
    """Whether it rests on a release that the record no longer holds, because another one was given since."""
    return bool(_releases(delivery)) and release_of(delivery) is None


def _releases(delivery: Any) -> set[str]:
    return {by for match in delivery.rules if (by := match["waived_by"] or "").startswith("release ")}
