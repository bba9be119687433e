"""The case that decide judges: everything known of a message, in plain values, the same when it arrives and when it is decided again
from the record.
"""

from dataclasses import dataclass
from enum import StrEnum

from relay.model.envelope import Recipient
from relay.model.features import Inspection


class Direction(StrEnum):
    """`outbound` from an inside client to elsewhere, `inbound` to a domain of the organisation, `internal` from inside to inside."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Case:
    """`recipients` are those to decide for, `recipients_total` how many the transaction had. `sender` is the key of the reverse-path,
    empty for the null one. `inspection` is None at RCPT, when the content is not known yet. `received_us` is when it came in
    (microseconds since 1970 UTC; 0 is not known).
    """

    client: str
    side: str
    sender: str
    recipients: tuple[Recipient, ...]
    size: int | None
    tls: bool
    authorised: bool
    inspection: Inspection | None = None
    recipients_total: int = 0
    received_us: int = 0
