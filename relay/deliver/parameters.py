"""MAIL and RCPT command lines: which extensions a message needs, and which parameters the next hop is told."""

from relay.deliver.answer import Answer, found
from relay.deliver.channel import CONTROL
from relay.deliver.connection import Connection
from relay.model.address import Mailbox
from relay.model.envelope import Recipient
from relay.model.message import StoredMessage

NO_8BIT = found("5.6.3", "the message has 8-bit content, and the next hop does not offer 8BITMIME: Sluis never converts")
NO_UTF8 = found("5.6.7", "the address or header is not ASCII, and the next hop does not offer SMTPUTF8: Sluis never converts")

UNSAYABLE = found("5.1.3", "the address has a control character, which no SMTP command may hold")


def lacking(message: StoredMessage, recipient: Recipient, connection: Connection) -> Answer | None:
    """What the next hop can't do for this recipient, or None. Nothing is ever converted (promise 5)."""
    if CONTROL.search(_path(recipient.mailbox)):
        return UNSAYABLE
    header = message.inspection.header
    sender_ascii = message.sender.path is None or message.sender.path.ascii
    utf8 = header.eight_bit or not sender_ascii or not recipient.mailbox.ascii
    if utf8 and not connection.offers("smtputf8"):  # RFC 6531 §3.2, §3.5
        return NO_UTF8
    if _eight_bit(message) and not connection.offers("8bitmime"):  # RFC 6152 §3
        return NO_8BIT
    return None


def too_large(octets: int, connection: Connection) -> Answer | None:
    """RFC 1870 §4: a declared maximum that the message does not fit; 0 or nothing is no maximum."""
    limit = connection.extensions.get("size", "").strip()
    if not limit.isascii() or not limit.isdigit() or not 0 < int(limit[:20]) < octets:
        return None
    return found("5.3.4", f"the message of {octets} octets is larger than the {int(limit[:20])} that the next hop takes")


def mail_line(message: StoredMessage, recipients: list[Recipient], octets: int, connection: Connection) -> bytes:
    """MAIL FROM with the parameters that the next hop offers; `octets` is the size as sent, without dot-stuffing (RFC 1870 §5)."""
    sender = message.sender
    parts = [b"MAIL FROM:" + _path(sender.path)]
    if connection.offers("size"):
        parts.append(b"SIZE=%d" % octets)
    if connection.offers("8bitmime") and _eight_bit(message):
        parts.append(b"BODY=8BITMIME")
    if connection.offers("smtputf8") and _wants_utf8(message, recipients):
        parts.append(b"SMTPUTF8")
    if connection.offers("dsn"):  # RFC 3461 §5.2.1: passed on as given
        if sender.ret in ("FULL", "HDRS"):
            parts.append(b"RET=" + sender.ret.encode("ascii"))
        if sender.envid:
            parts.append(b"ENVID=" + xtext(sender.envid))
    return b" ".join(parts)


def rcpt_line(recipient: Recipient, connection: Connection) -> bytes:
    """RCPT TO, with NOTIFY and ORCPT where DSN is offered."""
    parts = [b"RCPT TO:" + _path(recipient.mailbox)]
    if connection.offers("dsn"):
        if recipient.notify:
            parts.append(b"NOTIFY=" + ",".join(sorted(recipient.notify)).encode("ascii"))
        if recipient.orcpt:
            parts.append(b"ORCPT=" + original_recipient(recipient.orcpt))
    return b" ".join(parts)


def xtext(text: str) -> bytes:
    """RFC 3461 §4: everything but printable ASCII, `+` and `=` as `+XX`."""
    return b"".join(
        bytes((octet,)) if 33 <= octet <= 126 and octet not in b"+=" else b"+%02X" % octet
        for octet in text.encode("utf-8", "surrogateescape")
    )


def original_recipient(orcpt: str) -> bytes:
    """`type;address` encoded: xtext for ASCII; utf-8-addr-xtext (RFC 6533 §3) otherwise, which every server with DSN can read."""
    kind, _, address = orcpt.partition(";")
    if address.isascii() and kind.lower() != "utf-8":
        return kind.encode("ascii", "replace") + b";" + xtext(address)
    encoded = "".join(char if 33 <= ord(char) <= 126 and char not in "+=\\" else f"\\x{{{ord(char):X}}}" for char in address)
    return b"utf-8;" + encoded.encode("ascii")


def _path(mailbox: Mailbox | None) -> bytes:
    return b"<" + (str(mailbox).encode("utf-8") if mailbox else b"") + b">"


def _eight_bit(message: StoredMessage) -> bool:
    return message.inspection.eight_bit or message.inspection.header.eight_bit


def _wants_utf8(message: StoredMessage, recipients: list[Recipient]) -> bool:
    """Needed for an address or the header; or declared by the client for 8-bit content, because a header inside a part may need it."""
    addresses = [message.sender.path, *(recipient.mailbox for recipient in recipients)]
    needed = message.inspection.header.eight_bit or any(address is not None and not address.ascii for address in addresses)
    return needed or (message.sender.smtputf8 and _eight_bit(message))
