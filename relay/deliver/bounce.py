"""Delivery status notifications (RFC 3461, 3464, 6522; RFC 6533 for addresses that are not ASCII). The original's header goes along, never
its body: a bounce must not carry out what was stopped."""

import textwrap
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from relay.deliver.bounce_text import DUTCH, ENGLISH, LAST_TRY, REFERENCE, SUBJECT, Action
from relay.model.envelope import Recipient
from relay.model.message import Outcome, StoredMessage

HEADER_LIMIT = 16 * 1024  # of the original's header, cut at a field: enough to know the message again
LINE = 76


@dataclass(frozen=True, slots=True)
class Notice:
    """What is written: `header` is the original's header block; `id` and `hostname` name the notice; `until_us` is when trying
    ends; only a notice of delay says so, as nothing else is tried again."""

    action: Action
    message: StoredMessage
    reported: Sequence[tuple[Recipient, Outcome]]
    header: bytes
    id: uuid.UUID
    hostname: str
    now_us: int
    until_us: int | None = None

    @property
    def international(self) -> bool:
        """Whether the RFC 6533 forms are used: only towards a sender who uses SMTPUTF8, and where something is not ASCII."""
        texts = [str(self.message.sender), *(f"{recipient}{recipient.orcpt or ''}" for recipient, _ in self.reported)]
        return self.message.sender.smtputf8 and not (all(text.isascii() for text in texts) and self.header.isascii())


def wanted(message: StoredMessage, recipient: Recipient, action: Action, outcome: Outcome | None = None) -> bool:
    """Whether the sender is told. Only a vouched reverse-path that is not null (promise 13, RFC 3461 §6.1); then by NOTIFY (RFC 3461
    §4.1): nothing given means failures and delays. Success is told only where the next hop did not take over to do so."""
    if message.sender.path is None or not message.vouched:
        return False
    if action is Action.FAILED:
        return not recipient.notify or "FAILURE" in recipient.notify
    if action is Action.DELAYED:
        return not recipient.notify or "DELAY" in recipient.notify
    return "SUCCESS" in recipient.notify and not (outcome is not None and outcome.dsn_passed)


def build_dsn(notice: Notice) -> bytes:
    """A whole message, CRLF-ended, from the null reverse-path to the sender of `notice.message`. Its bytes are ASCII unless
    `notice.international`. Raises ValueError for a sender who may not be told: `wanted` is asked first."""
    sender = notice.message.sender.path
    if sender is None or not notice.message.vouched or not notice.reported:
        raise ValueError("nobody may be told of this")
    boundary = f"sluis-{notice.id.hex}"
    header = [
        f"Date: {_date(notice.now_us)}",
        f"From: Mail Delivery System <MAILER-DAEMON@{notice.hostname}>",
        f"To: <{_safe(str(sender))}>",
        f"Subject: {SUBJECT[notice.action]}",
        f"Message-ID: <{notice.id}@{notice.hostname}>",
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
    ]
    encoding = "8bit" if notice.international else "7bit"
    parts = [_for_people(notice), _for_machines(notice), _original(notice)]
    lines = "\r\n".join(header) + "\r\n\r\n"
    for media_type, text in parts:
        lines += f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{text}\r\n"
    return (lines + f"--{boundary}--\r\n").encode("utf-8" if notice.international else "ascii", "replace")


def _for_people(notice: Notice) -> tuple[str, str]:
    listed = []
    for recipient, outcome in notice.reported:
        listed.append(f"  <{_safe(str(recipient))}>")
        listed += [f"    {line}" for line in textwrap.wrap(_safe(outcome.reply), LINE - 4)]
    ends = [REFERENCE.format(message=notice.message.id.hex)]
    if notice.action is Action.DELAYED and notice.until_us is not None:
        ends.append(LAST_TRY.format(until=_date(notice.until_us)))
    paragraphs = [DUTCH[notice.action], ENGLISH[notice.action], "\n".join(listed), "\n".join(ends)]
    charset = "utf-8" if notice.international else "us-ascii"
    return f"text/plain; charset={charset}", "\n\n".join(paragraphs).replace("\n", "\r\n") + "\r\n"


def _for_machines(notice: Notice) -> tuple[str, str]:
    """RFC 3464 §2.2 and §2.3: one group of fields for the message, one for each recipient."""
    groups = [[f"Reporting-MTA: dns; {notice.hostname}"]]
    envid = notice.message.sender.envid
    if envid and envid.isascii() and envid.isprintable():
        groups[0].insert(0, f"Original-Envelope-Id: {envid}")
    groups[0].append(f"Arrival-Date: {_date(notice.message.received_us)}")
    groups += [_recipient_fields(notice, recipient, outcome) for recipient, outcome in notice.reported]
    kind = "message/global-delivery-status" if notice.international else "message/delivery-status"
    return kind, "\r\n".join("".join(f"{line}\r\n" for line in group) for group in groups)


def _recipient_fields(notice: Notice, recipient: Recipient, outcome: Outcome) -> list[str]:
    lines = []
    if recipient.orcpt:
        kind, _, address = recipient.orcpt.partition(";")
        lines.append(f"Original-Recipient: {_safe(kind)}; {_safe(address)}")
    address = _safe(str(recipient))
    lines += [f"Final-Recipient: {'rfc822' if address.isascii() else 'utf-8'}; {address}", f"Action: {notice.action.value}"]
    lines.append(f"Status: {outcome.status}")
    if outcome.next_hop:
        lines.append(f"Remote-MTA: dns; {_safe(outcome.next_hop.partition('[')[0])}")
    if outcome.reply[:3].isdigit():  # what the next hop said; a finding of our own is no SMTP reply
        lines.append("\r\n ".join(textwrap.wrap(f"Diagnostic-Code: smtp; {_safe(outcome.reply)}", LINE)))
    lines.append(f"Last-Attempt-Date: {_date(notice.now_us)}")
    if notice.action is Action.DELAYED and notice.until_us is not None:
        lines.append(f"Will-Retry-Until: {_date(notice.until_us)}")
    return lines


def _original(notice: Notice) -> tuple[str, str]:
    """Headers only, whatever RET says: RFC 3461 §4.3 lets an MTA leave the content out, and the content is what was stopped."""
    block = notice.header
    if len(block) > HEADER_LIMIT:
        block = block[: block.rfind(b"\r\n", 0, HEADER_LIMIT) + 2]
    text = block.decode("utf-8", "replace") if notice.international else block.decode("ascii", "replace").replace("\ufffd", "?")
    lines = [_safe(line.replace("\t", " ")) for line in text.split("\r\n")]
    return ("message/global-headers" if notice.international else "text/rfc822-headers"), "\r\n".join(lines)


def _safe(text: str) -> str:
    """No control character, bidi override or line end from outside."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _date(time_us: int) -> str:
    return format_datetime(datetime.fromtimestamp(time_us // 1_000_000, UTC))
