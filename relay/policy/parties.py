"""Who is who: the organisation and its partners, the clients that may connect, the senders, the recipients of ours."""

import ipaddress
import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator

from relay.model.client import Side
from relay.policy.base import Domain, Name, Pattern, Strict, Zone

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _range(value: object) -> Network:
    """One problem with one hint, where a union of two types would give two without."""
    if isinstance(value, Network):
        return value
    if not isinstance(value, str):
        raise ValueError("an address range is text such as '192.0.2.0/28'")
    try:
        found = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"'{value}' is no address range such as '192.0.2.0/28' or '2001:db8::/64'") from None
    if ipaddress.ip_interface(value).ip != found.network_address:
        raise ValueError(f"'{value}' has host bits set: the whole range is written '{found}'")
    return found


AddressRange = Annotated[Network, PlainValidator(_range)]
"""IPv4 or IPv6, as CIDR."""

_FINGERPRINT = re.compile(r"sha256:[0-9a-fA-F]{64}")


def _certificate(text: str) -> str:
    if text.lower().startswith("sha256:") and not _FINGERPRINT.fullmatch(text):
        raise ValueError(f"'{text}': a fingerprint is sha256: and 64 hex digits without colons")
    if not text or not text.isprintable() or " " in text:
        raise ValueError(f"'{text}' is no fingerprint and no host name")
    return text


Certificate = Annotated[str, AfterValidator(_certificate)]
"""`sha256:` and the fingerprint of the whole certificate (DER), or a DNS name in it."""


class Limits(Strict):
    """Ceilings; without a key there is no ceiling."""

    messages_per_hour: int | None = Field(default=None, ge=1, description="messages in an hour")
    messages_per_day: int | None = Field(default=None, ge=1, description="messages in a day")
    recipients_per_hour: int | None = Field(default=None, ge=1, description="recipients in an hour")
    recipients_per_day: int | None = Field(default=None, ge=1, description="recipients in a day")


class LineEnds(StrEnum):
    """What happens to bare CR, bare LF and NUL in DATA."""

    REFUSE = "refuse"
    NORMALISE = "normalise"


class Client(Strict):
    """A mail server that may connect. One of its identities is enough: a login counts before a certificate, a certificate before an
    address, the narrowest address range before a wider one. A login that belongs to no client is nobody."""

    name: Name = Field(description="its name in rules and in the record; `sluis` and `gone` are taken")
    side: Side = Field(description="which listeners it comes to: `inside` (outbound mail) or `outside` (inbound mail)")
    addresses: tuple[AddressRange, ...] = Field(default=(), description="address ranges (CIDR), IPv4 and IPv6")
    certificates: tuple[Certificate, ...] = Field(
        default=(), description="client certificates: `sha256:` and the fingerprint, or a DNS name in the certificate"
    )
    logins: tuple[str, ...] = Field(default=(), description="names it may log in with")
    require_tls: bool = Field(default=True, description="no mail without TLS: 530 5.7.0 at MAIL FROM")
    may_send_as: tuple[Pattern, ...] = Field(
        default=(), description="reverse-paths and header From addresses; from outside `*` never covers our own domains"
    )
    may_send_null: bool = Field(default=True, description="whether the empty reverse-path (bounces) is taken")
    may_send_to: tuple[Pattern, ...] = Field(
        default=(), description="recipients; from outside just ours are possible, whatever stands here"
    )
    forwards: bool = Field(default=False, description="inside only: foreign From is taken, and never DKIM-signed as ours")
    already_accepted: bool = Field(default=False, description="it has said 250 itself already, and never hears 5xx after DATA")
    line_ends: LineEnds = Field(
        default=LineEnds.REFUSE, description="bare CR, bare LF and NUL: `refuse` the message, or `normalise` it and record that"
    )
    limits: Limits = Field(default=Limits(), description="ceilings for the client as a whole")
    sender_limits: Limits = Field(default=Limits(), description="ceilings for each reverse-path on it")


class Partner(Strict):
    """An organisation outside that rules can name."""

    name: Name = Field(description="its name in rules")
    domains: tuple[Pattern, ...] = Field(min_length=1, description="its domains and addresses")


class Organisation(Strict):
    """Who we are."""

    name: str = Field(min_length=1, description="our name, for people")
    domains: tuple[Pattern, ...] = Field(min_length=1, description="our domains: inbound mail goes there")
    authserv_id: Domain = Field(description="our name in Authentication-Results and Received (RFC 8601 §2.5)")
    postmaster: Pattern = Field(description="the address that gets what is sent to `<postmaster>`")
    phases: tuple[Name, ...] = Field(default=("open",), min_length=1, description="the phases there are, from shut to open")
    zone: Zone = Field(default="UTC", description="where our days begin: a time zone of the IANA database")
    partners: tuple[Partner, ...] = Field(default=(), description="organisations outside that rules can name")


class SenderRule(Strict):
    """Addresses that a login may use besides what its client may: delegates, functional mailboxes."""

    login: str = Field(min_length=1, description="the login")
    may_send_as: tuple[Pattern, ...] = Field(description="reverse-paths and header From addresses")


class RecipientCheck(StrEnum):
    """How inbound recipients are verified before 250."""

    LIST = "list"
    PROBE = "probe"


class Recipients(Strict):
    """How recipients of our domains are verified. The first entry whose `domains` match counts."""

    domains: tuple[Pattern, ...] = Field(min_length=1, description="the recipients that it is about")
    check: RecipientCheck = Field(description="`list`: a file of addresses; `probe`: ask the next hop with RCPT TO, remembered for a while")
    file: str | None = Field(default=None, description="for `list`: the file in the policy folder, `lists/NAME.txt`")
    route: Name | None = Field(default=None, description="for `probe`: the route to ask over")
