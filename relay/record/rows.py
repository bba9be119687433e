"""The rows of a message and its deliveries, and what its accepted event says."""

import uuid
from collections.abc import Sequence
from typing import Any

from relay.model.address import key_domain
from relay.model.case import Direction
from relay.model.client import Side
from relay.model.decision import Decision, Verdict
from relay.model.delivery import State
from relay.model.ids import new_id
from relay.model.message import Decided
from relay.record.first_claims import FIRST_FENCE, Lease
from relay.store.codec import matches_to_json, observed_to_json, peer_to_json, recipient_to_json, sender_to_json


def message_row(decided: Decided, reply: str, commitment: str, spool_object: str | None) -> dict[str, Any]:
    """A row of `message`; `spool_object` is where its body is, or None for no body."""
    received = decided.inspected.received
    sender = received.envelope.sender
    sender_key = sender.path.key if sender.path else ""
    inspection = decided.inspected.inspection
    return {
        "id": received.id,
        "received_us": received.received_us,
        "direction": (Direction.INBOUND if received.peer.side is Side.OUTSIDE else Direction.OUTBOUND).value,
        "client": received.client,
        "peer": peer_to_json(received.peer),
        "sender": sender_key,
        "sender_domain": key_domain(sender_key),
        "envelope": sender_to_json(sender),
        "header_message_id": inspection.header.message_id,
        "size": received.body.size,
        "digest": received.body.digest,
        "body_hash": received.body.body_hash,
        "spool_object": spool_object,
        "vouched": received.vouched,
        "authorised": received.authorised,
        "inspection": inspection.to_json(),
        "policy": decided.decision.epoch.policy,
        "phase": decided.decision.epoch.phase,
        "reply": reply,
        "commitment": commitment,
        "recipients": len(received.envelope.recipients),
    }


def delivery_row(decided: Decided, index: int, state: State) -> dict[str, Any]:
    """A row of `delivery`."""
    received = decided.inspected.received
    recipient = received.envelope.recipients[index]
    key = recipient.mailbox.key
    return {
        "message_id": received.id,
        "ordinal": index,
        "recipient": key,
        "recipient_domain": key_domain(key),
        "envelope": recipient_to_json(recipient),
        "state": state.value,
        "attempts": 0,
        "possible_duplicates": 0,
        "release": None,
        "outcome": None,
        "changed_us": received.received_us,
        **verdict_values(decided.decision, index),
    }


def verdict_values(decision: Decision, index: int) -> dict[str, Any]:
    """The columns of `delivery` that the verdict on one recipient fills. It was decided on the inspection of the message."""
    verdict, epoch = decision.verdicts[index], decision.epoch
    return {
        "disposition": str(verdict.disposition),
        "rules": matches_to_json(verdict),
        "because": verdict.because,
        "route": verdict.route,
        "policy": epoch.policy,
        "phase": epoch.phase,
        "decided_us": decision.decided_us or None,
        "deferred": verdict.deferred,
        "observed": observed_to_json(verdict),
        "inspection": None,
        "effects": verdict.effects.to_json() or None,
    }


def kept_row(message_id: uuid.UUID, verdicts: Sequence[Verdict], now_us: int) -> dict[str, Any] | None:
    """The row of `kept` for what a rule keeps as evidence, or None."""
    rules = sorted({rule for verdict in verdicts if verdict.effects.keep for rule in verdict.rules})
    if not any(verdict.effects.keep for verdict in verdicts):
        return None
    because = next(verdict.because for verdict in verdicts if verdict.effects.keep)
    return {"message_id": message_id, "actor": f"policy ({', '.join(rules)})", "reason": because, "kept_us": now_us}


def notification_rows(message_id: uuid.UUID, verdicts: Sequence[Verdict], now_us: int) -> list[dict[str, Any]]:
    """The rows of `notification`: one for each rule and address, however many recipients it matched for."""
    told = sorted({told for verdict in verdicts for told in verdict.effects.notify})
    return [
        {"message_id": message_id, "rule": rule, "address": address, "notice_id": new_id(), "due_us": now_us, "result": ""}
        for rule, address in told
    ]


def queue_row(decided: Decided, index: int, state: State, expires_us: int, next_us: int, lease: Lease | None = None) -> dict[str, Any]:
    """A row of `queue`, claimed already where there is a lease."""
    verdict = decided.decision.verdicts[index]
    epoch = decided.decision.epoch
    return {
        "message_id": decided.inspected.received.id,
        "ordinal": index,
        "route": (verdict.route or "") if state is State.READY else "",
        "policy": epoch.policy,
        "phase": epoch.phase,
        "next_us": next_us,
        "expires_us": expires_us,
        "attempts": 0,
        "owner": lease.owner if lease else None,
        "lease_until_us": lease.until_us if lease else None,
        "fence": FIRST_FENCE if lease else 0,
        "marked_fence": None,
        "delay_notified": False,
    }


def effects_told(verdict: Verdict) -> dict[str, Any]:
    """For an event: what follows besides, where anything does."""
    effects = verdict.effects.to_json()
    return {"effects": effects} if effects else {}


def accepted_details(decided: Decided, states: Sequence[State]) -> dict[str, Any]:
    """Envelope, digests and decision, as the event commits to them."""
    received = decided.inspected.received
    inspection = decided.inspected.inspection
    return {
        "client": received.client,
        "peer": peer_to_json(received.peer),
        "sender": sender_to_json(received.envelope.sender),
        "size": received.body.size,
        "digest": received.body.digest,
        "body_hash": received.body.body_hash,
        "normalised": received.body.normalised,
        "vouched": received.vouched,
        "authorised": received.authorised,
        "header_message_id": inspection.header.message_id,
        "epoch": str(decided.decision.epoch),
        "policy": decided.decision.epoch.policy,
        "findings": [list(finding.identity) for finding in inspection.findings],
        "unavailable": list(inspection.unavailable),
        "scanners": [list(version) for version in inspection.versions],
        "recipients": [
            {
                **recipient_to_json(recipient),
                "state": state.value,
                "disposition": str(verdict.disposition),
                "deferred": verdict.deferred,
                "rules": list(verdict.rules),
                "waived": [match.rule for match in verdict.matches if match.waived_by],
                "route": verdict.route,
                **observed_details(verdict),
                **effects_told(verdict),
            }
            for recipient, state, verdict in zip(received.envelope.recipients, states, decided.decision.verdicts, strict=True)
        ],
    }


def observed_details(verdict: Verdict) -> dict[str, Any]:
    """Rules that are only observed and would have matched: told where there are any."""
    return {"observed": [match.rule for match in verdict.observed]} if verdict.observed else {}
