"""Conditions: what a rule or waiver asks of a message and a recipient, in facts that are recorded, so that it can be asked again."""

import re
from datetime import time
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.model.finding import Kind
from relay.policy.base import Listed, ListName, Name, Strict, Zone


def _extension(text: str) -> str:
    if text != text.lower().lstrip(".") or not text:
        raise ValueError(f"'{text}' must be written as '{text.lower().lstrip('.')}': lower case, without the dot")
    return text


def _media_type(text: str) -> str:
    if text != text.lower() or text.count("/") != 1:
        raise ValueError(f"'{text}' is no media type in lower case such as application/pdf or image/*")
    return text


def _sha256(text: str) -> str:
    if not text.startswith("list:") and not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"'{text}' is no SHA-256 in 64 lower-case hex digits, and no list (list:NAME)")
    return text


def _time(text: str) -> str:
    if not re.fullmatch(r"[0-2][0-9]:[0-5][0-9]", text) or text > "24:00":
        raise ValueError(f"'{text}' is no time of day such as '08:30'")
    return text


TimeOfDay = Annotated[str, AfterValidator(_time)]
"""`08:30`; `24:00` is the end of the day."""
Extensions = tuple[Annotated[str, AfterValidator(_extension)], ...]
MediaTypes = tuple[Annotated[str, AfterValidator(_media_type)], ...]
Digests = tuple[Annotated[str, AfterValidator(_sha256)], ...]


class AttachmentCondition(Strict):
    """Any one attachment that fits all that is given. Names inside an archive count as names of the archive."""

    extensions: Extensions | None = Field(default=None, description="the last extension of its name, lower case, without the dot")
    types: MediaTypes | None = Field(default=None, description="its declared or its true media type; `image/*` for all of a kind")
    true_types: MediaTypes | None = Field(default=None, description="its true media type, whatever it says")
    names: tuple[str, ...] | None = Field(default=None, description="its name, with `*` and `?`; case does not matter")
    sha256: Digests | None = Field(default=None, description="SHA-256 of its bytes, hex, or `list:NAME`")
    encrypted: bool | None = Field(default=None, description="whether it is encrypted")
    macro: bool | None = Field(
        default=None, description="whether it, or something in it, is an office document with macros (VBA, or sheets of Excel 4)"
    )
    larger_than: int | None = Field(default=None, ge=0, description="octets, decoded")
    smaller_than: int | None = Field(default=None, ge=0, description="octets, decoded")


class HeaderCondition(Strict):
    """What the header says of the message; everything that is given must hold."""

    display_name: tuple[str, ...] | None = Field(
        default=None, description="the display name in From, with `*` and `?`; case does not matter"
    )
    imitates_us: bool | None = Field(
        default=None, description="whether the display name in From looks like our name or an address of ours, and its address is not ours"
    )
    recipients: tuple[Listed, ...] | None = Field(default=None, description="an address in To or Cc")
    automatic: bool | None = Field(default=None, description="whether a machine sent it: Auto-Submitted other than `no` (RFC 3834 §5)")
    list_mail: bool | None = Field(
        default=None, description="whether a list or a mass mailer sent it: List-Id, List-Post, List-Unsubscribe, Precedence"
    )
    delivered_before: bool | None = Field(
        default=None, description="whether a Delivered-To or X-Loop field names this recipient: it has been there already"
    )
    received_more_than: int | None = Field(default=None, ge=0, description="Received fields")
    message_id: bool | None = Field(default=None, description="whether it has a Message-ID")


class TimeCondition(Strict):
    """When the message came in, by the clock of a place. `from` after `to` spans midnight."""

    zone: Zone = Field(description="time zone of the IANA database, such as `Europe/Amsterdam`")
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] | None = Field(
        default=None, description="days of the week; of a span over midnight the day that it begins on"
    )
    from_: TimeOfDay = Field(default="00:00", alias="from", description="from this minute on")
    to: TimeOfDay = Field(default="24:00", description="until before this minute")

    @property
    def minutes(self) -> tuple[int, int]:
        """`from` and `to` in minutes of the day."""
        return _minutes(self.from_), _minutes(self.to)


def _minutes(text: str) -> int:
    return 24 * 60 if text == "24:00" else time.fromisoformat(text).hour * 60 + time.fromisoformat(text).minute


class FirstTimesCondition(Strict):
    """How many recipients of this sender are first-time ones today, in the organisation's `zone`, this message's among them. A message
    that the sender's server sends again is counted again."""

    more_than: int = Field(ge=0, description="holds from one more on")


class AuthenticationCondition(Strict):
    """Whether mail that comes from outside is by whom it says (RFC 8601): asked of DNS while it comes in, where a rule wants to know.
    Everything that is given must hold. It is never known of mail from inside."""

    spf: tuple[Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"], ...] | None = Field(
        default=None, description="whether the domain of the reverse-path lets the client's address send (RFC 7208)"
    )
    dkim: tuple[Literal["none", "neutral", "pass", "fail", "policy", "temperror", "permerror"], ...] | None = Field(
        default=None,
        description="the best of its signatures (RFC 6376), whoever signed; `policy`: signed with `l=`, so that it may have grown",
    )
    dmarc: tuple[Literal["none", "pass", "fail", "temperror", "permerror"], ...] | None = Field(
        default=None, description="whether SPF or DKIM vouches for the domain in From (RFC 9989); `none`: the domain has no DMARC record"
    )
    dmarc_policy: tuple[Literal["none", "quarantine", "reject"], ...] | None = Field(
        default=None, description="what the domain in From asks for mail that fails; no word where it has no DMARC record"
    )


class Condition(Strict):
    """Everything that is given must hold; a list holds if one of its entries does. An empty condition always holds."""

    direction: tuple[Literal["outbound", "inbound", "internal"], ...] | None = Field(
        default=None, description="`outbound` (to elsewhere), `inbound` (to us), `internal` (from us to us)"
    )
    client: tuple[Name, ...] | None = Field(default=None, description="the client that brought it; `sluis` is what Sluis writes itself")
    phase: tuple[Name, ...] | None = Field(default=None, description="the phase that holds now")
    sender: tuple[Listed, ...] | None = Field(default=None, description="the reverse-path; no pattern covers the empty one")
    header_from: tuple[Listed, ...] | None = Field(default=None, description="an address in From")
    recipient: tuple[Listed, ...] | None = Field(default=None, description="this recipient")
    partner: tuple[Name, ...] | None = Field(default=None, description="the other side: the sender of inbound mail, else the recipient")
    group: tuple[ListName, ...] | None = Field(
        default=None, description="lists that our side is in: the recipient of inbound mail, else the sender"
    )
    null_sender: bool | None = Field(default=None, description="whether the reverse-path is empty (bounces)")
    authorised: bool | None = Field(default=None, description="whether the client may send as the reverse-path (never so from outside)")
    tls: bool | None = Field(default=None, description="whether it came over TLS")
    larger_than: int | None = Field(default=None, ge=0, description="the whole message, octets")
    smaller_than: int | None = Field(default=None, ge=0, description="the whole message, octets")
    recipients_more_than: int | None = Field(default=None, ge=0, description="recipients in the transaction")
    first_time_recipient: bool | None = Field(
        default=None,
        description="whether nothing that this sender sent was ever delivered to this recipient, as far as the record goes back",
    )
    first_time_recipients_today: FirstTimesCondition | None = Field(
        default=None, description="how many first-time recipients this sender has had today"
    )
    authentication: AuthenticationCondition | None = Field(
        default=None, description="what SPF, DKIM and DMARC say of inbound mail; of other mail it is not known"
    )
    finding: tuple[Kind, ...] | None = Field(default=None, description="what inspection found, by kind")
    finding_name: tuple[str, ...] | None = Field(default=None, description="what inspection found, by name")
    attachment: AttachmentCondition | None = Field(default=None, description="one attachment that fits")
    header: HeaderCondition | None = Field(default=None, description="facts of the header")
    subject_contains: tuple[str, ...] | None = Field(default=None, description="words in the subject; case does not matter")
    time: TimeCondition | None = Field(default=None, description="when it came in")
    if_: str | None = Field(
        default=None, alias="if", max_length=1000, description="a CEL expression that is true, for what no other key can say"
    )
    any: "tuple[Condition, ...] | None" = Field(default=None, description="one of these holds")
    all: "tuple[Condition, ...] | None" = Field(default=None, description="all of these hold")
    not_: "Condition | None" = Field(default=None, alias="not", description="this does not hold")

    @property
    def children(self) -> "tuple[Condition, ...]":
        """The conditions in it."""
        return (*(self.any or ()), *(self.all or ()), *((self.not_,) if self.not_ is not None else ()))
