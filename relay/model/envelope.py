"""The envelope of one transaction (RFC 5321 §2.3.1) with its DSN parameters (RFC 3461)."""

from dataclasses import dataclass, field
from enum import StrEnum

from relay.model.address import Mailbox


class Body(StrEnum):
    """The BODY parameter (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Sender:
    """MAIL FROM. `path` is None for the null reverse-path. `size` is the declared SIZE in octets; `ret` is FULL or HDRS; `envid` is
    decoded xtext.
    """

    path: Mailbox | None
    size: int | None = None
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.path else ""


@dataclass(frozen=True, slots=True)
class Recipient:
    """RCPT TO. `notify` is empty if not given, else a subset of NEVER, SUCCESS, FAILURE, DELAY; `orcpt` is `type;address`, decoded."""

    mailbox: Mailbox
    notify: frozenset[str] = frozenset()
    orcpt: str | None = None

    def __str__(self) -> str:
        return str(self.mailbox)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom; the recipients keep their order, and their index is their ordinal everywhere."""

    sender: Sender
    recipients: tuple[Recipient, ...] = field(default=())
