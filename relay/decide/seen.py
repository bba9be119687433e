"""What a key of a condition looked at: the value that was there, in plain JSON values; None is not known."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from relay.decide.facts import Facts

MOST = 20  # of a list


def seen(key: str, facts: Facts) -> Any:
    """The value for a key of `relay.policy.conditions.Condition`, `any`, `all` and `not` left out."""
    return _LOOK[key](facts)


def _header_from(facts: Facts) -> Any:
    header = facts.message.header
    return None if header is None else list(header.from_addresses[:MOST])


def _header(facts: Facts) -> Any:
    header = facts.message.header
    if header is None:
        return None
    return {
        "display_name": header.from_display,
        "from": list(header.from_addresses[:MOST]),
        "recipients": list(header.to[:MOST]),
        "auto_submitted": header.auto_submitted,
        "received": header.received,
        "list_mail": header.list_mail,
        "delivered_to": list((header.delivered_to or ())[:MOST]),
        "message_id": header.message_id,
    }


def _attachment(facts: Facts) -> Any:
    if facts.message.attachments is None:
        return None
    return [
        {
            "name": shown.attachment.name,
            "declared": shown.attachment.declared,
            "true_type": shown.attachment.true_type,
            "size": shown.attachment.size,
            "sha256": shown.attachment.sha256,
            "encrypted": shown.attachment.encrypted,
            "macro": shown.macro,
            "members": list(shown.attachment.members[:MOST]),
        }
        for shown in facts.message.attachments[:MOST]
    ]


def _findings(facts: Facts) -> Any:
    inspection = facts.message.case.inspection
    if inspection is None or (facts.message.header is None and not inspection.findings):
        return None
    return [f"{found.kind.value}: {found.name}" for found in inspection.findings[:MOST]]


def _first_time(facts: Facts) -> Any:
    first_times = facts.message.first_times
    return None if first_times is None else facts.recipient in first_times


def _authentication(facts: Facts) -> Any:
    found = facts.message.authentication
    if found is None:
        return None
    signed = [f"{one.domain}/{one.selector}: {one.result}" for one in found.signatures]
    told = {name: found.asked(name) for name in ("spf", "dkim", "dmarc", "dmarc_policy")}
    return told | {"spf_domain": found.spf_domain, "from_domain": found.from_domain, "signatures": signed}


def _time(facts: Facts) -> Any:
    received_us = facts.message.case.received_us
    return datetime.fromtimestamp(received_us / 1e6, UTC).isoformat(timespec="minutes") if received_us else None


_LOOK: dict[str, Callable[[Facts], Any]] = {
    "direction": lambda facts: facts.direction.value,
    "client": lambda facts: facts.message.case.client,
    "phase": lambda facts: facts.message.phase,
    "sender": lambda facts: facts.message.case.sender,
    "header_from": _header_from,
    "recipient": lambda facts: facts.recipient,
    "partner": lambda facts: facts.other_side,
    "group": lambda facts: facts.our_side,
    "null_sender": lambda facts: facts.message.case.sender == "",
    "authorised": lambda facts: facts.message.case.authorised,
    "tls": lambda facts: facts.message.case.tls,
    "larger_than": lambda facts: facts.message.size,
    "smaller_than": lambda facts: facts.message.size,
    "recipients_more_than": lambda facts: facts.message.recipients_total,
    "first_time_recipient": _first_time,
    "first_time_recipients_today": lambda facts: facts.message.first_times_today,
    "authentication": _authentication,
    "finding": _findings,
    "finding_name": _findings,
    "attachment": _attachment,
    "header": _header,
    "subject_contains": lambda facts: facts.message.header.subject if facts.message.header else None,
    "time": _time,
    "if": lambda facts: {"sender": facts.message.case.sender, "recipient": facts.recipient, "size": facts.message.size},
}
