"""The shape of `policies/`: strict models; an unknown key is refused. One Policy is the whole folder, checked."""

import ipaddress
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from relay.model.client import Side
from relay.model.decision import Disposition
from relay.model.finding import Kind

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
"""A name that others refer to: kebab-case."""

Pattern = Annotated[str, Field(min_length=1, max_length=320)]
"""An address (`a@b.nl`), a domain (`b.nl`), a domain and all below it (`.b.nl`), or `*` for any."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Strict(BaseModel):
    """Frozen, and nothing is guessed: no unknown key, no coercion between types."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Strict):
    """Ceilings; None is no ceiling."""

    messages_per_hour: int | None = Field(default=None, ge=1)
    messages_per_day: int | None = Field(default=None, ge=1)
    recipients_per_hour: int | None = Field(default=None, ge=1)
    recipients_per_day: int | None = Field(default=None, ge=1)


class LineEnds(StrEnum):
    """What happens to bare CR, bare LF and NUL in DATA."""

    REFUSE = "refuse"
    NORMALISE = "normalise"


class Client(Strict):
    """A mail server that may connect. All identities that are given must not all hold: one address match, one certificate or one login
    identifies;
    `require_tls` and `require_login` add to it."""

    name: Name
    side: Side
    addresses: tuple[Network, ...] = ()
    certificates: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()
    require_tls: bool = True
    may_send_as: tuple[Pattern, ...] = ()
    may_send_null: bool = True
    may_send_to: tuple[Pattern, ...] = ()
    forwards: bool = False
    already_accepted: bool = False
    line_ends: LineEnds = LineEnds.REFUSE
    limits: Limits = Limits()
    sender_limits: Limits = Limits()


class Partner(Strict):
    """An organisation outside that rules and routes can name."""

    name: Name
    domains: tuple[Pattern, ...]


class Organisation(Strict):
    """Who we are. `authserv_id` is our name in Authentication-Results and Received (RFC 8601 §2.5). `domains` are ours: inbound mail
    goes there.
    """

    name: str
    domains: tuple[Pattern, ...] = Field(min_length=1)
    authserv_id: str
    postmaster: str
    phases: tuple[Name, ...] = ("open",)
    partners: tuple[Partner, ...] = ()


class SenderRule(Strict):
    """Which addresses a login or an outside mailbox may use besides what its client may: may-send-as for delegates."""

    login: str
    may_send_as: tuple[Pattern, ...]


class RecipientCheck(StrEnum):
    """How inbound recipients are verified before 250."""

    LIST = "list"
    PROBE = "probe"


class Recipients(Strict):
    """Verification for our domains: a list file (one address a line, relative to the policy folder) or a cached RCPT probe over a route."""

    domains: tuple[Pattern, ...]
    check: RecipientCheck
    file: str | None = None
    route: Name | None = None


class TlsLevel(StrEnum):
    """`verified`: TLS with a certificate that names the host. `encrypted`: TLS with any certificate. `opportunistic`: TLS where offered;
    plaintext only where STARTTLS is not offered, never after a failed handshake. `none`: never TLS (tests, loopback)."""

    VERIFIED = "verified"
    ENCRYPTED = "encrypted"
    OPPORTUNISTIC = "opportunistic"
    NONE = "none"


class Route(Strict):
    """A way out. `smart_host` `host:port` or `[address]:port`; None means MX lookup. The first route whose `to` matches is taken.
    `login` names a file with `user:password` in the secrets folder of the settings. `ca_file` is a path to trusted certificates, None
    the system's."""

    name: Name
    to: tuple[Pattern, ...]
    smart_host: str | None = None
    tls: TlsLevel = TlsLevel.VERIFIED
    lmtp: bool = False
    login: str | None = None
    ca_file: str | None = None
    port: int = Field(default=25, ge=1, le=65535)
    connections: int = Field(default=5, ge=1, le=100)


class SigningKey(Strict):
    """A DKIM selector; the private key lies in the keys folder as `<domain>/<selector>.pem`."""

    selector: str
    algorithm: Literal["rsa-sha256", "ed25519-sha256"]


class Signing(Strict):
    """Which keys sign for which sender domain (exact, as A-labels)."""

    domain: str
    keys: tuple[SigningKey, ...] = Field(min_length=1)


class InspectionPolicy(Strict):
    """Which inspectors must answer before mail in a direction may be delivered."""

    outbound: tuple[str, ...] = ("yara", "type", "archive")
    inbound: tuple[str, ...] = ("yara", "type", "archive")
    internal: tuple[str, ...] = ("yara", "type", "archive")


class AttachmentCondition(Strict):
    """Any one attachment that fits all that is given."""

    extensions: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    sha256: tuple[str, ...] | None = None
    encrypted: bool | None = None
    larger_than: int | None = Field(default=None, ge=0)
    smaller_than: int | None = Field(default=None, ge=0)


class Condition(Strict):
    """Everything that is given must hold; a list holds if one of its entries does. An empty condition always holds."""

    direction: tuple[Literal["outbound", "inbound", "internal"], ...] | None = None
    client: tuple[Name, ...] | None = None
    phase: tuple[Name, ...] | None = None
    sender: tuple[Pattern, ...] | None = None
    header_from: tuple[Pattern, ...] | None = None
    recipient: tuple[Pattern, ...] | None = None
    partner: tuple[Name, ...] | None = None
    null_sender: bool | None = None
    tls: bool | None = None
    larger_than: int | None = Field(default=None, ge=0)
    smaller_than: int | None = Field(default=None, ge=0)
    recipients_more_than: int | None = Field(default=None, ge=0)
    finding: tuple[Kind, ...] | None = None
    finding_name: tuple[str, ...] | None = None
    attachment: AttachmentCondition | None = None
    subject_contains: tuple[str, ...] | None = None
    any: "tuple[Condition, ...] | None" = None
    all: "tuple[Condition, ...] | None" = None
    not_: "Condition | None" = Field(default=None, alias="not")


class Rule(Strict):
    """`then` applies to each recipient for whom `when` holds and `unless` does not."""

    name: Name
    when: Condition = Condition()
    unless: Condition | None = None
    then: Literal["deliver", "hold", "quarantine", "reject"]
    because: str = Field(min_length=1)
    route: Name | None = None
    final: bool = False

    @property
    def disposition(self) -> Disposition:
        """`then` as the ordered value."""
        return Disposition[self.then.upper()]


class Waiver(Strict):
    """The one way to be milder: takes the named rules away where `when` holds, until the end of the day `until` (UTC)."""

    name: Name
    rules: tuple[Name, ...] = Field(min_length=1)
    when: Condition = Condition()
    owner: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    until: date


class Policy(Strict):
    """A whole policy folder, checked. `digest` is the SHA-256 (hex) over its files. `recipient_lists` are the address keys in each
    list file.
    """

    digest: str
    organisation: Organisation
    clients: tuple[Client, ...] = ()
    senders: tuple[SenderRule, ...] = ()
    recipients: tuple[Recipients, ...] = ()
    recipient_lists: dict[str, frozenset[str]] = {}
    routes: tuple[Route, ...] = ()
    signing: tuple[Signing, ...] = ()
    inspection: InspectionPolicy = InspectionPolicy()
    rules: tuple[Rule, ...] = ()
    waivers: tuple[Waiver, ...] = ()
