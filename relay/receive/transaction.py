"""One transaction while its envelope grows, from MAIL FROM to the last byte."""

import uuid
from dataclasses import dataclass, field

from relay.model.client import Peer
from relay.model.decision import Epoch
from relay.model.envelope import Envelope, Recipient, Sender
from relay.model.ports import Hearing
from relay.policy.models import Client, Policy


@dataclass(slots=True)
class Transaction:
    """`policy` and `epoch` are those in force at MAIL FROM. `authorised`: the client may send as the reverse-path, and does not only
    forward. `receipt` and `hearing` are set when the bytes are known, where the client waits for a reply that it may fail to hear.
    """

    id: uuid.UUID
    peer: Peer
    client: Client
    policy: Policy
    epoch: Epoch
    sender: Sender
    authorised: bool
    vouched: bool
    recipients: list[Recipient] = field(default_factory=list)
    receipt: bytes = b""
    hearing: Hearing | None = None

    @property
    def envelope(self) -> Envelope:
        """The envelope as it stands."""
        return Envelope(self.sender, tuple(self.recipients))
