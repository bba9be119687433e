"""The Received field that Sluis puts on top (RFC 5321 §4.4): every value from outside is checked or made safe first."""

import ipaddress
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from relay.model.address import Mailbox
from relay.model.client import Peer
from relay.model.message import StoredMessage

DOMAIN = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*")
LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f:.]{2,45})\]")
UNSAFE_IN_COMMENT = re.compile(r"[^!#-'*-\[\]-~ ]")  # printable ASCII but `"`, `(`, `)` and `\` (RFC 5322 §3.2.2)


def received_field(message: StoredMessage, recipient: Mailbox | None, hostname: str) -> bytes:
    """The whole field, CRLF-ended. `recipient` is given in `for` only if the message has one recipient in all: with several, `for`
    would tell one about another (RFC 5321 §7.6)."""
    peer = message.peer
    known = _known_helo(peer.helo)
    lines = [f"from {peer.helo if known else 'unknown'} ({_address_literal(peer.address)})"]
    if not known and peer.helo:
        lines.append(f"(greeted as {_comment(peer.helo, 100)})")
    if peer.tls:
        lines.append(f"(using {_comment(peer.tls.version, 20)} with cipher {_comment(peer.tls.cipher, 60)})")
    lines.append(f"by {hostname} with {protocol(peer, message.sender.smtputf8)} id {message.id.hex}")
    lines.append(f"(commitment {_comment(message.commitment, 128)})")
    if message.recipients_total == 1 and recipient is not None and _fit_for_clause(recipient, message.sender.smtputf8):
        lines.append(f"for <{recipient}>")
    return ("Received: " + "\r\n\t".join(lines) + f";\r\n\t{_date(message.received_us // 1_000_000)}\r\n").encode("utf-8")


@lru_cache(maxsize=16)
def _date(seconds: int) -> str:
    """The same for all messages of a second."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def protocol(peer: Peer, smtputf8: bool) -> str:
    """The `with` value (RFC 3848); with SMTPUTF8 the forms of RFC 6531 §4.3."""
    base = peer.protocol
    if not smtputf8 or base == "SMTP":
        return base
    return "UTF8LMTP" + base[len("LMTP") :] if base.startswith("LMTP") else "UTF8SMTP" + base[len("ESMTP") :]


def _known_helo(helo: str) -> bool:
    return bool(DOMAIN.fullmatch(helo) or LITERAL.fullmatch(helo))


@lru_cache(maxsize=1000)
def _address_literal(address: str) -> str:
    """RFC 5321 §4.1.3."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    return f"[IPv6:{parsed}]" if parsed.version == 6 else f"[{parsed}]"


def _comment(text: str, limit: int) -> str:
    return UNSAFE_IN_COMMENT.sub("?", text[:limit])


def _fit_for_clause(recipient: Mailbox, smtputf8: bool) -> bool:
    """An address with controls, angle brackets or (without SMTPUTF8) 8-bit characters is left out."""
    text = str(recipient)
    return text.isprintable() and not set(text) & set("<>") and len(text) <= 320 and (smtputf8 or text.isascii())
