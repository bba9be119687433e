"""What rules and waivers are written in: conditions, and what follows from them."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.model.decision import Disposition
from relay.model.finding import Kind
from relay.policy.base import Name, Pattern, Strict


def _extension(text: str) -> str:
    if text != text.lower().lstrip(".") or not text:
        raise ValueError(f"'{text}' must be written as '{text.lower().lstrip('.')}': lower case, without the dot")
    return text


def _media_type(text: str) -> str:
    if text != text.lower() or text.count("/") != 1:
        raise ValueError(f"'{text}' is no media type in lower case such as application/pdf or image/*")
    return text


def _sha256(text: str) -> str:
    if len(text) != 64 or any(char not in "0123456789abcdef" for char in text):
        raise ValueError(f"'{text}' is no SHA-256 in 64 lower-case hex digits")
    return text


class AttachmentCondition(Strict):
    """Any one attachment that fits all that is given. Names inside an archive count as names of the archive."""

    extensions: tuple[Annotated[str, AfterValidator(_extension)], ...] | None = Field(
        default=None, description="the last extension of its name, lower case, without the dot"
    )
    types: tuple[Annotated[str, AfterValidator(_media_type)], ...] | None = Field(
        default=None, description="its declared or its true media type; `image/*` for all of a kind"
    )
    names: tuple[str, ...] | None = Field(default=None, description="its name, with `*` and `?`; case does not matter")
    sha256: tuple[Annotated[str, AfterValidator(_sha256)], ...] | None = Field(default=None, description="SHA-256 of its bytes, hex")
    encrypted: bool | None = Field(default=None, description="whether it is encrypted")
    larger_than: int | None = Field(default=None, ge=0, description="octets, decoded")
    smaller_than: int | None = Field(default=None, ge=0, description="octets, decoded")


class Condition(Strict):
    """Everything that is given must hold; a list holds if one of its entries does. An empty condition always holds."""

    direction: tuple[Literal["outbound", "inbound", "internal"], ...] | None = Field(
        default=None, description="`outbound` (to elsewhere), `inbound` (to us), `internal` (from us to us)"
    )
    client: tuple[Name, ...] | None = Field(default=None, description="the client that brought it; `sluis` is what Sluis writes itself")
    phase: tuple[Name, ...] | None = Field(default=None, description="the phase that holds now")
    sender: tuple[Pattern, ...] | None = Field(default=None, description="the reverse-path; no pattern covers the empty one")
    header_from: tuple[Pattern, ...] | None = Field(default=None, description="an address in From")
    recipient: tuple[Pattern, ...] | None = Field(default=None, description="this recipient")
    partner: tuple[Name, ...] | None = Field(default=None, description="the other side: the sender of inbound mail, else the recipient")
    null_sender: bool | None = Field(default=None, description="whether the reverse-path is empty (bounces)")
    tls: bool | None = Field(default=None, description="whether it came over TLS")
    larger_than: int | None = Field(default=None, ge=0, description="the whole message, octets")
    smaller_than: int | None = Field(default=None, ge=0, description="the whole message, octets")
    recipients_more_than: int | None = Field(default=None, ge=0, description="recipients in the transaction")
    finding: tuple[Kind, ...] | None = Field(default=None, description="what inspection found, by kind")
    finding_name: tuple[str, ...] | None = Field(default=None, description="what inspection found, by name")
    attachment: AttachmentCondition | None = Field(default=None, description="one attachment that fits")
    subject_contains: tuple[str, ...] | None = Field(default=None, description="words in the subject; case does not matter")
    any: "tuple[Condition, ...] | None" = Field(default=None, description="one of these holds")
    all: "tuple[Condition, ...] | None" = Field(default=None, description="all of these hold")
    not_: "Condition | None" = Field(default=None, alias="not", description="this does not hold")


class Rule(Strict):
    """`then` applies to each recipient for whom `when` holds and `unless` does not."""

    name: Name = Field(description="its name in waivers and in the record")
    when: Condition = Field(default=Condition(), description="a condition; without it the rule always holds")
    unless: Condition | None = Field(default=None, description="a condition under which the rule does not hold")
    then: Literal["deliver", "hold", "quarantine", "reject"] = Field(description="`deliver`, `hold`, `quarantine` or `reject`")
    because: str = Field(min_length=1, description="the reason, for staff; a client never hears it")
    route: Name | None = Field(default=None, description="the route, instead of the first that matches; with `deliver` only")
    final: bool = Field(default=False, description="no waiver takes it away")

    @property
    def disposition(self) -> Disposition:
        """`then` as the ordered value."""
        return Disposition[self.then.upper()]


class Waiver(Strict):
    """The one way to be milder: takes the named rules away where `when` surely holds, until its end. A waiver past its end takes nothing
    away; `sluis check` names it."""

    name: Name = Field(description="its name in the record")
    rules: tuple[Name, ...] = Field(min_length=1, description="the rules that it takes away; none that is final")
    when: Condition = Field(default=Condition(), description="a condition; without it the waiver always holds")
    owner: str = Field(min_length=1, description="who answers for it")
    reason: str = Field(min_length=1, description="why")
    until: date = Field(description="the last day, as `2030-01-31` (UTC)")
