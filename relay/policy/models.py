"""The shape of `policies/`: strict models; an unknown key is refused. One Policy is the whole folder, checked."""

from pydantic import Field

from relay.policy.base import Name, Pattern, Strict
from relay.policy.language import AttachmentCondition, Condition, Rule, Waiver
from relay.policy.parties import (
    Client,
    Limits,
    LineEnds,
    Network,
    Organisation,
    Partner,
    RecipientCheck,
    Recipients,
    SenderRule,
)
from relay.policy.ways import InspectionPolicy, Route, Signing, SigningKey, TlsLevel

__all__ = [
    "AttachmentCondition",
    "Client",
    "Condition",
    "InspectionPolicy",
    "Limits",
    "LineEnds",
    "Name",
    "Network",
    "Organisation",
    "Partner",
    "Pattern",
    "Policy",
    "RecipientCheck",
    "Recipients",
    "Route",
    "Rule",
    "SenderRule",
    "Signing",
    "SigningKey",
    "Strict",
    "TlsLevel",
    "Waiver",
]


class Policy(Strict):
    """A whole policy folder, checked. `digest` is the SHA-256 (hex) over its files. `recipient_lists` are the address keys in each
    list file.
    """

    digest: str
    organisation: Organisation
    clients: tuple[Client, ...] = ()
    senders: tuple[SenderRule, ...] = ()
    recipients: tuple[Recipients, ...] = ()
    recipient_lists: dict[str, frozenset[str]] = Field(default={})
    routes: tuple[Route, ...] = ()
    signing: tuple[Signing, ...] = ()
    inspection: InspectionPolicy = InspectionPolicy()
    rules: tuple[Rule, ...] = ()
    waivers: tuple[Waiver, ...] = ()
