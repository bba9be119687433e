"""Makes the prefix of a message that is about to leave: DKIM signatures on top of the Received field, or what authentication of it said."""

import logging
from pathlib import Path

from relay.model.address import domain_key
from relay.model.message import Claimed, Signed, StoredMessage
from relay.model.ports import BodyReader
from relay.policy.models import Policy, Signing
from relay.sign.dkim_signature import SigningIdentity, signature_fields
from relay.sign.header_block import Field, UnreadableHeader, fields, merged, read_header, without
from relay.sign.keys import LOOK_SECONDS, KeyRing
from relay.sign.received import received_field
from relay.sign.results import results_field

log = logging.getLogger("sluis.sign")


class Signer:
    """Signs as the domains for which policy names keys. `keys` is the folder of private keys."""

    def __init__(self, keys: Path, look_seconds: float = LOOK_SECONDS) -> None:
        self._keys = KeyRing(keys, look_seconds)

    def sign(self, claimed: Claimed, policy: Policy, body: BodyReader, hostname: str, now_us: int) -> Signed:
        """The prefix for one claim. The body is not read: its hash was computed when it came in; of the message only the header is.

        Raises ConfigurationError if policy asks for a key that is missing or unfit: such mail waits. A header that can't be told apart into
        fields gets no signature; it was quarantined for that, and left by a release that says so. SpoolError from the reader."""
        message = claimed.message
        skip = merged(message.inspection.header.forged_results)
        recipient = claimed.tickets[0].recipient.mailbox if claimed.tickets else None
        results = results_field(message.inspection.authentication, message.sender.path is None, policy.organisation.authserv_id)
        prefix = claimed.effects.prefix + results + received_field(message, recipient, hostname)
        signing = signing_for(message, policy)
        if signing is not None:
            prefix = self._signatures(signing, message, _header(message, body, skip, claimed.effects.prefix), now_us) + prefix
        return Signed(claimed, prefix, skip)

    def _signatures(self, signing: Signing, message: StoredMessage, header: list[Field] | None, now_us: int) -> bytes:
        if header is None:
            return b""
        domain = domain_key(signing.domain)
        identities = [
            SigningIdentity(domain, key.selector, key.algorithm, self._keys.key(domain, key.selector, key.algorithm))
            for key in signing.keys
        ]
        return signature_fields(header, message.body_hash, identities, now_us // 1_000_000)


def signing_for(message: StoredMessage, policy: Policy) -> Signing | None:
    """The signing entry for a message, or None: only for an authorised sender, never for a client that only forwards, and only as the
    one domain that the header From names."""
    if not message.authorised or any(client.forwards for client in policy.clients if client.name == message.client):
        return None
    domains = {domain_key(address.rpartition("@")[2]) for address in message.inspection.header.from_addresses}
    if len(domains) != 1 or message.inspection.header.from_fields != 1:
        return None
    domain = domains.pop()
    return next((signing for signing in policy.signing if domain_key(signing.domain) == domain), None)


def _header(message: StoredMessage, body: BodyReader, skip: tuple[tuple[int, int], ...], added: bytes) -> list[Field] | None:
    """The fields that will leave, those that policy has `added` first; None if they can't be told apart: then no signature
    would mean the same to every verifier."""
    try:
        return fields(added) + fields(without(read_header(body), skip))
    except UnreadableHeader as error:
        log.warning("not signed: unreadable header", extra={"fields": {"message": message.id.hex, "reason": str(error)}})
        return None
