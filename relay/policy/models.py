"""The shape of `policies/`: strict models; an unknown key is refused. One Policy is the whole folder, checked."""

from pydantic import Field

from relay.policy.base import Name, Pattern, Strict
from relay.policy.conditions import (
    AttachmentCondition,
    AuthenticationCondition,
    Condition,
    FirstTimesCondition,
    HeaderCondition,
    TimeCondition,
)
from relay.policy.lists import EntryList
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
from relay.policy.rules import Rule, Tell, Waiver
from relay.policy.ways import InspectionPolicy, Route, Signing, SigningKey, TlsLevel

__all__ = [
    "AttachmentCondition",
    "AuthenticationCondition",
    "Client",
    "Condition",
    "EntryList",
    "FirstTimesCondition",
    "HeaderCondition",
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
    "Tell",
    "TimeCondition",
    "TlsLevel",
    "Waiver",
]


class Policy(Strict):
    """A whole policy folder, checked. `digest` is the SHA-256 (hex) over its files. `lists` are the files in
    `lists/`, by name.
    """

    digest: str
    organisation: Organisation
    clients: tuple[Client, ...] = ()
    senders: tuple[SenderRule, ...] = ()
    recipients: tuple[Recipients, ...] = ()
    lists: dict[str, EntryList] = Field(default={})
    routes: tuple[Route, ...] = ()
    signing: tuple[Signing, ...] = ()
    inspection: InspectionPolicy = InspectionPolicy()
    rules: tuple[Rule, ...] = ()
    waivers: tuple[Waiver, ...] = ()
