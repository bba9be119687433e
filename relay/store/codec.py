"""The plain JSON values of model types in the tables, and back."""

from typing import Any

from relay.model.address import Mailbox
from relay.model.client import Peer, Side, Tls
from relay.model.decision import Disposition, Match, Release, Verdict
from relay.model.envelope import Body, Recipient, Sender


def peer_to_json(peer: Peer) -> dict[str, Any]:
    value: dict[str, Any] = {
        name: getattr(peer, name)
        for name in ("listener", "address", "port", "local_address", "local_port", "lmtp", "helo", "esmtp", "login", "proxy")
    }
    value["side"] = peer.side.value
    value["forwarded"] = dict(peer.forwarded)
    if peer.tls:
        value["tls"] = {
            "version": peer.tls.version,
            "cipher": peer.tls.cipher,
            "certificate_sha256": peer.tls.certificate_sha256,
            "certificate_names": list(peer.tls.certificate_names),
        }
    return value


def peer_from_json(value: dict[str, Any]) -> Peer:
    tls = value.get("tls")
    rest = {name: item for name, item in value.items() if name not in ("tls", "side")}
    return Peer(
        **rest,
        side=Side(value["side"]),
        tls=Tls(**{**tls, "certificate_names": tuple(tls["certificate_names"])}) if tls else None,
    )


def _mailbox_to_json(mailbox: Mailbox) -> list[str]:
    return [mailbox.local, mailbox.domain]


def sender_to_json(sender: Sender) -> dict[str, Any]:
    return {
        "path": _mailbox_to_json(sender.path) if sender.path else None,
        "body": sender.body.value,
        "smtputf8": sender.smtputf8,
        "ret": sender.ret,
        "envid": sender.envid,
    }


def sender_from_json(value: dict[str, Any]) -> Sender:
    path = Mailbox(*value["path"]) if value["path"] else None
    return Sender(path, body=Body(value["body"]), smtputf8=value["smtputf8"], ret=value["ret"], envid=value["envid"])


def recipient_to_json(recipient: Recipient) -> dict[str, Any]:
    return {"mailbox": _mailbox_to_json(recipient.mailbox), "notify": sorted(recipient.notify), "orcpt": recipient.orcpt}


def recipient_from_json(value: dict[str, Any]) -> Recipient:
    return Recipient(Mailbox(*value["mailbox"]), frozenset(value["notify"]), value["orcpt"])


def matches_to_json(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {
            "rule": match.rule,
            "disposition": str(match.disposition),
            "because": match.because,
            "final": match.final,
            "waived_by": match.waived_by,
        }
        for match in verdict.matches
    ]


def observed_to_json(verdict: Verdict) -> list[dict[str, Any]] | None:
    """Kept apart from the matches, so that nothing that asks which rule matched takes one for a match; None where there are none."""
    return [_observed(match) for match in verdict.observed] if verdict.observed else None


def _observed(match: Match) -> dict[str, Any]:
    return {"rule": match.rule, "disposition": str(match.disposition), "because": match.because}


def match_from_json(value: dict[str, Any]) -> Match:
    return Match(value["rule"], Disposition[value["disposition"].upper()], value["because"], value["final"], value["waived_by"])


def release_to_json(release: Release) -> dict[str, Any]:
    return {
        "request": release.request,
        "findings": sorted(list(finding) for finding in release.findings),
        "rules": sorted(release.rules),
        "approved": release.approved,
    }


def release_from_json(value: dict[str, Any]) -> Release:
    findings = frozenset((kind, inspector, name, part) for kind, inspector, name, part in value["findings"])
    return Release(value["request"], findings, frozenset(value["rules"]), value["approved"])
