"""A policy of given rules, a case as the road would give it, and the verdict of decide on one recipient."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from relay.decide import decide
from relay.model.case import Case
from relay.model.client import Side
from relay.model.decision import Disposition, Epoch, Release, Verdict
from relay.model.envelope import Recipient
from relay.model.features import Attachment, Header, Inspection
from relay.model.finding import Finding, Kind
from relay.policy.models import Condition, InspectionPolicy, Organisation, Partner, Policy, Route, Rule, Waiver
from tests.fakes.custody import mailbox

TODAY = date(2026, 11, 24)
EPOCH = Epoch("0" * 64, "open")
BRAKED = replace(EPOCH, brake=True)
ANSWERED = ("type", "yara", "archive")
PASS = Rule(name="pass", then="deliver", because="ordinary mail")
OUT = Route(name="out", to=("*",))

UNREADABLE = Inspection(Header(), findings=(Finding(Kind.CRASH, "inspect", "worker-died"),))
"""A worker died on the message."""

NOBODY_LOOKED = Inspection(Header(), unavailable=("inspect",))
"""No worker was free."""


def rule(name: str, then: Any = "hold", *, because: str = "", route: str | None = None, final: bool = False, **when: Any) -> Rule:
    """A rule of one condition."""
    return Rule(name=name, when=condition(**when), then=then, because=because or f"rule {name}", route=route, final=final)


def condition(**when: Any) -> Condition:
    """A condition as a policy file would give it; `not` and `if` are written `not_` and `if_`."""
    return Condition.model_validate({(key.rstrip("_") if key in ("not_", "if_") else key): value for key, value in when.items()})


def waiver(name: str, *rules: str, until: date = date(2030, 1, 31), **when: Any) -> Waiver:
    """A waiver of these rules."""
    return Waiver(name=name, rules=rules, when=condition(**when), owner="somebody", reason="because", until=until)


def policy(*rules: Rule, waivers: Sequence[Waiver] = (), routes: Sequence[Route] = (OUT,), **changes: Any) -> Policy:
    """A policy of these rules."""
    organisation = Organisation(
        name="Example",
        domains=("example.nl",),
        authserv_id="relay.example.nl",
        postmaster="postmaster@example.nl",
        phases=("closed", "open"),
        partners=(Partner(name="court", domains=("court.example", ".court.example")),),
    )
    values: dict[str, Any] = {"digest": "0" * 64, "organisation": organisation, "rules": rules, "waivers": tuple(waivers)}
    return Policy(**{**values, "routes": tuple(routes), "inspection": InspectionPolicy(), **changes})


def attachment(name: str = "a.pdf", **changes: Any) -> Attachment:
    """An attachment of 1000 octets."""
    values: dict[str, Any] = {"declared": "application/pdf", "true_type": "application/pdf", "size": 1000, "sha256": "ab" * 32}
    return Attachment("2", name, **{**values, **changes})


def found(kind: Kind, name: str = "something", *, inspector: str = "yara", part: str = "2", detail: str = "") -> Finding:
    """One finding."""
    return Finding(kind, inspector, name, part, detail)


def inspection(*findings: Finding, attachments: Sequence[Attachment] = (), **changes: Any) -> Inspection:
    """What the workers answer when all goes well."""
    header = Header(from_addresses=("jan@example.nl",), from_fields=1, subject="Hello", size=300, delivered_to=(), list_mail=False)
    values: dict[str, Any] = {"header": header, "attachments": tuple(attachments), "findings": findings, "answered": ANSWERED}
    return Inspection(**{**values, **changes})


def case(*recipients: str, inside: bool = True, **changes: Any) -> Case:
    """A message from inside to the outside, inspected and with nothing found."""
    values: dict[str, Any] = {
        "client": "exchange",
        "side": Side.INSIDE if inside else Side.OUTSIDE,
        "sender": "jan@example.nl" if inside else "piet@partner.example",
        "recipients": tuple(Recipient(mailbox(address)) for address in recipients or ("piet@partner.example",)),
        "size": 5000,
        "tls": True,
        "authorised": inside,
        "inspection": inspection(),
    }
    return Case(**{**values, **changes})


def verdict(given: Policy, about: Case | None = None, epoch: Epoch = EPOCH, today: date = TODAY, release: Release | None = None) -> Verdict:
    """The verdict on the first recipient."""
    releases: Mapping[int, Release] = {0: release} if release else {}
    return decide(about or case(), given, epoch, today, releases).verdicts[0]


def disposition(given: Policy, about: Case | None = None, epoch: Epoch = EPOCH, release: Release | None = None) -> Disposition:
    """Just the disposition; `deferred` must not be set."""
    said = verdict(given, about, epoch, release=release)
    assert not said.deferred
    return said.disposition


def released(*rules: str, findings: Sequence[Finding] = (), approved: bool = False) -> Release:
    """A release by somebody who saw these rules and findings."""
    return Release("r1", frozenset(item.identity for item in findings), frozenset(rules), approved)
