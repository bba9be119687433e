"""What somebody of the organisation is told when a rule with `notify` matched: which message, which rule, for whom; nothing of what is in
it, so that a notice carries nothing out."""

import textwrap
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

LINE = 76
MOST = 20  # recipients that are named


@dataclass(frozen=True, slots=True)
class RuleNotice:
    """`id` and `hostname` name the notice; `recipients` are (address, state) of those for whom the rule matched; `more` messages were
    matched of which no notice of their own was sent."""

    id: uuid.UUID
    hostname: str
    now_us: int
    address: str
    message_id: uuid.UUID
    rule: str
    because: str
    sender: str
    recipients: Sequence[tuple[str, str]]
    more: int = 0


def build_rule_notice(notice: RuleNotice) -> bytes:
    """A whole message in ASCII, CRLF-ended, to be sent from the null reverse-path."""
    header = [
        f"Date: {format_datetime(datetime.fromtimestamp(notice.now_us // 1_000_000, UTC))}",
        f"From: Sluis <MAILER-DAEMON@{notice.hostname}>",
        f"To: <{notice.address}>",
        f"Subject: Rule {notice.rule} matched",
        f"Message-ID: <{notice.id}@{notice.hostname}>",
        "Auto-Submitted: auto-generated",  # RFC 3834 §5: nobody answers by machine
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
    ]
    named = [f"  <{_safe(address)}>: {state}" for address, state in notice.recipients[:MOST]]
    more = len(notice.recipients) - len(named)
    lines = [
        "Een regel die u wilde volgen, heeft een bericht geraakt.",
        "A rule that you follow has matched a message.",
        "",
        f"rule:    {notice.rule}",
        *textwrap.wrap(f"because: {_safe(notice.because)}", LINE, subsequent_indent="         "),
        f"message: {notice.message_id.hex}",
        f"from:    <{_safe(notice.sender)}>",
        "to:",
        *named,
        *([f"  and {more} more"] if more > 0 else []),
        "",
        *_of_more(notice),
        f"sluis message show {notice.message_id.hex} --reason ...",
    ]
    return "\r\n".join([*header, "", *lines, ""]).encode("ascii", "replace")


def _of_more(notice: RuleNotice) -> list[str]:
    if not notice.more:
        return []
    return [
        f"Zij raakte nog {notice.more} berichten, waarover geen eigen melding is gestuurd.",
        f"It has matched {notice.more} more messages, of which no notice was sent.",
        f"sluis message list --rule {notice.rule} --reason ...",
        "",
    ]


def _safe(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)
