"""What is known of one recipient in one attempt: the next hop's reply, or what Sluis itself found out."""

import re
from dataclasses import dataclass

from relay.model.text import printable

ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?= |\Z)")
LENGTH = 400  # what of a reply is kept for the record, the log and a bounce


@dataclass(frozen=True, slots=True)
class Answer:
    """`code` is the next hop's three digits, 0 where the finding is our own; `status` an enhanced status code (RFC 3463) whose class
    decides; `text` is printable and bounded. `unknown`: the final dot was sent, and no reply came. `withdrawn`: dropped by us before it.
    `rest`: seconds that the destination is left alone still; nothing was tried. `unreadable`: the stored body is not what was recorded."""

    code: int
    status: str
    text: str
    unknown: bool = False
    withdrawn: bool = False
    rest: float = 0.0
    unreadable: bool = False

    @property
    def positive(self) -> bool:
        """A 2xx."""
        return self.status.startswith("2")

    @property
    def permanent(self) -> bool:
        """A 5xx: trying again changes nothing."""
        return self.status.startswith("5")

    def __str__(self) -> str:
        return f"{self.code} {self.text}" if self.code else self.text


def found(status: str, text: str) -> Answer:
    """A finding of our own."""
    return Answer(0, status, printable(text, LENGTH))


def replied(code: int, lines: list[str]) -> Answer:
    """A reply of the next hop. Without an enhanced status code, or with one of another class than the code (RFC 2034 §4), it gets
    X.0.0."""
    match = ENHANCED.match(lines[0]) if lines else None
    kind = str(code)[0]
    status = match.group() if match and match.group(1) == kind else f"{kind}.0.0"
    return Answer(code, status, printable(" ".join(line.strip() for line in lines), LENGTH))


class HopFailed(Exception):
    """This host can't be used now: no connection, no TLS as required, no greeting. Nothing of the transaction was sent."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer))
        self.answer = answer


class Lost(Exception):
    """The connection broke, timed out or stopped making sense."""


class Stale(Lost):
    """An idle connection that the next hop had given up: nothing of this message was taken, and a fresh one may do."""
