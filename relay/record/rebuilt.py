"""Rows made again from a spool object whose message the store does not know: its manifest is the accepted event, with envelope and
decision. What became of it since nobody knows, so that every recipient waits for a person, as a possible duplicate.

The manifest was sealed before the 250: a message whose commit failed, or that its client sent again, looks the same.
"""

import hashlib
import json
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert

from relay.audit.event import make_event, write
from relay.model.address import key_domain
from relay.model.case import Direction
from relay.model.client import Side
from relay.model.decision import Disposition, Match, Verdict
from relay.model.delivery import State
from relay.model.errors import SpoolError
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind
from relay.model.text import printable
from relay.store import states
from relay.store.codec import matches_to_json, peer_from_json, recipient_from_json, sender_from_json
from relay.store.spool.ports import Spool
from relay.store.tables import Delivery, Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
RULE = "rebuilt"
"""No rule of the policy: what the rows of a rebuilt message say in its place."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a manifest says, as rows. `accepted` is the event of then."""

    message: dict[str, Any]
    deliveries: list[dict[str, Any]]
    accepted: dict[str, Any]


def read_object(spool: Spool, name: str) -> Rebuilt:
    """Reads the whole object, each chunk by its tag, and all of it by the digest in the manifest. Raises SpoolError; SpoolUnavailable
    where its key is not here."""
    manifest = spool.manifest(name)
    try:
        rebuilt = _rows(name, manifest)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise SpoolError(f"spool object {name}: its manifest is none that this program knows: {error!r}") from None
    digest = hashlib.sha256()
    size = 0
    with closing(spool.open(name)) as body:
        for chunk in body.chunks():
            digest.update(chunk)
            size += len(chunk)
    if (size, digest.hexdigest()) != (rebuilt.message["size"], rebuilt.message["digest"]):
        raise SpoolError(f"spool object {name}: not the bytes that its manifest names")
    return rebuilt


def write_rows(connection: Connection, rebuilt: Rebuilt, actor: str, origin: str, reason: str, now_us: int) -> None:
    """Message, deliveries, counts and event; nothing is queued."""
    deliveries = [{**row, "changed_us": now_us} for row in rebuilt.deliveries]
    connection.execute(insert(MESSAGE).values(rebuilt.message))
    connection.execute(insert(DELIVERY), deliveries)
    states.count_new(connection, [State(row["state"]) for row in deliveries])
    identity: uuid.UUID = rebuilt.message["id"]
    told = make_event(
        "rebuilt",
        object_=f"message {identity.hex}",
        result=State.QUARANTINED.value,
        origin=origin,
        actor=actor,
        time_us=now_us,
        reason=reason,
        message_id=identity,
        details={"accepted": rebuilt.accepted, "commitment": rebuilt.message["commitment"]},
    )
    write(connection, [told])


def _rows(name: str, manifest: dict[str, Any]) -> Rebuilt:
    accepted = json.loads(manifest["event"])
    if accepted["kind"] not in ("accepted", "refused"):  # a refused one is evidence that a rule keeps
        raise ValueError(f"a {accepted['kind']} event")
    details = accepted["details"]
    identity = uuid.UUID(accepted["object"].removeprefix("message "))
    peer = peer_from_json(details["peer"])
    sender = sender_from_json(details["sender"])
    sender_key = sender.path.key if sender.path else ""
    phase = details["epoch"].split("/")[1]
    message = {
        "id": identity,
        "received_us": int(accepted["time_us"]),
        "direction": (Direction.INBOUND if peer.side is Side.OUTSIDE else Direction.OUTBOUND).value,
        "client": details["client"],
        "peer": details["peer"],
        "sender": sender_key,
        "sender_domain": key_domain(sender_key),
        "envelope": details["sender"],
        "header_message_id": details.get("header_message_id", ""),
        "size": details["size"],
        "digest": details["digest"],
        "body_hash": details["body_hash"],
        "spool_object": name,
        "vouched": details.get("vouched", False),
        "authorised": details.get("authorised", False),
        "inspection": _inspection(details).to_json(),
        "policy": details["policy"],
        "phase": phase,
        "reply": details.get("reply", "250"),
        "commitment": manifest["commitment"],
        "recipients": len(details["recipients"]),
    }
    shared = {"message_id": identity, "policy": details["policy"], "phase": phase}
    deliveries = [{**shared, **_delivery(ordinal, value)} for ordinal, value in enumerate(details["recipients"])]
    return Rebuilt(message, deliveries, accepted)


def _inspection(details: dict[str, Any]) -> Inspection:
    """What the event kept of it; all of it is found again when the message is inspected before it may leave."""
    findings = tuple(Finding(Kind(kind), inspector, name, part) for kind, inspector, name, part in details["findings"])
    versions = tuple((name, version) for name, version in details["scanners"])
    header = Header(message_id=details.get("header_message_id", ""))
    return Inspection(header, findings=findings, unavailable=tuple(details["unavailable"]), versions=versions)


def _delivery(ordinal: int, value: dict[str, Any]) -> dict[str, Any]:
    recipient = recipient_from_json({name: value[name] for name in ("mailbox", "notify", "orcpt")})
    refused = value["state"] == State.REFUSED.value
    by = f" by {', '.join(value['rules'])}" if value["rules"] else ""
    then = f"it was {value['state']} when it was accepted ({value['disposition']}{by})"
    because = printable(f"rebuilt from the spool: it may have been delivered already; {then}", 1000)
    disposition = Disposition.REJECT if refused else Disposition.QUARANTINE
    verdict = Verdict(disposition, (Match(RULE, disposition, because),), because=because)
    key = recipient.mailbox.key
    return {
        "ordinal": ordinal,
        "recipient": key,
        "recipient_domain": key_domain(key),
        "envelope": {name: value[name] for name in ("mailbox", "notify", "orcpt")},
        "state": State.REFUSED.value if refused else State.QUARANTINED.value,
        "disposition": str(disposition),
        "rules": matches_to_json(verdict),
        "because": because,
        "route": None,
        "attempts": 0,
        "possible_duplicates": 0 if refused else 1,
        "release": None,
        "outcome": None,
        "decided_us": None,
        "deferred": False,
        "observed": None,
        "inspection": None,
        "effects": value.get("effects"),
    }
