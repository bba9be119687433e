"""What conditions look at: a case laid out once for the message and once for each recipient, so that many rules ask cheaply."""

from typing import Any

from relay.decide.logic import Truth
from relay.model.case import Case, Direction
from relay.model.features import Attachment, Header
from relay.model.finding import UNDECIDABLE, Finding, Kind


class Shown:
    """One attachment with its names folded. Names inside an archive count as names of the archive."""

    __slots__ = ("attachment", "extensions", "macro", "names")

    def __init__(self, attachment: Attachment, macros: frozenset[str] = frozenset()) -> None:
        self.attachment = attachment
        self.macro = attachment.part in macros
        self.names = tuple(name.casefold() for name in (attachment.name, *attachment.members))
        self.extensions = frozenset(_extension(name) for name in self.names)


def _extension(name: str) -> str:
    """Windows drops dots and spaces at the end of a name, so that `a.exe. ` is a program."""
    return name.rstrip(". ").rpartition(".")[2] if "." in name else ""


def _with_macros(findings: tuple[Finding, ...]) -> frozenset[str]:
    """The parts in which, at whatever depth, inspection found an office document with macros (relay/inspect/encrypted.py)."""
    return frozenset(found.part.partition("/")[0] for found in findings if found.kind is Kind.TYPE and found.name == "macro")


class MessageFacts:
    """The same for all recipients. Content is None where nobody has read it: before DATA, where the reader died, where none was free.
    `size` is None before DATA: a declared SIZE is a claim. `may_pass` says that content is unknown and may come to be known: no reader
    was free, and none died of it."""

    __slots__ = (
        "attachments",
        "authentication",
        "case",
        "context",
        "extensions",
        "first_times",
        "first_times_today",
        "header",
        "in_context",
        "kinds",
        "may_pass",
        "memo",
        "names",
        "phase",
        "recipient_in_context",
        "recipients_total",
        "results",
        "size",
        "standing",
        "subject",
    )

    def __init__(self, case: Case, phase: str) -> None:
        inspection = case.inspection
        self.case = case
        self.phase = phase
        self.size = case.size if inspection else None
        self.recipients_total = max(case.recipients_total, len(case.recipients)) if inspection else None
        readable = inspection is not None and inspection.header.size > 0
        self.header: Header | None = inspection.header if inspection and readable else None
        self.subject: str | None = self.header.subject.casefold() if self.header else None
        macros = _with_macros(inspection.findings) if inspection else frozenset()
        self.attachments: tuple[Shown, ...] | None = (
            tuple(Shown(item, macros) for item in inspection.attachments) if inspection and readable else None
        )
        self.extensions: frozenset[str] | None = (
            frozenset().union(*(shown.extensions for shown in self.attachments)) if self.attachments is not None else None
        )
        self.kinds: frozenset[Kind] = frozenset(found.kind for found in inspection.findings) if inspection else frozenset()
        self.names: frozenset[str] = frozenset(found.name for found in inspection.findings) if inspection else frozenset()
        self.first_times = inspection.first_times if inspection else None
        self.first_times_today = inspection.first_times_today if inspection else None
        self.authentication = inspection.authentication if inspection else None
        self.may_pass = self.header is None and self.kinds.isdisjoint(UNDECIDABLE)
        self.standing: dict[object, Any] = {}  # of rules that recipients share (relay/decide/standing.py)
        self.memo: dict[object, bool] = {}
        self.context: Any = None  # of expressions, made when the first one asks
        self.in_context: set[str] = set()
        self.recipient_in_context = ""
        self.results: dict[str | tuple[str, str], Truth] = {}  # of expressions, by their text, and by recipient where they speak of it


class Facts:
    """One recipient of it. `other_side` is whom partners are looked up by: the sender of inbound mail, else the recipient; `our_side` is
    the other one, whom groups are looked up by."""

    __slots__ = ("direction", "message", "other_side", "our_side", "recipient")

    def __init__(self, message: MessageFacts, recipient: str, direction: Direction) -> None:
        self.message = message
        self.recipient = recipient
        self.direction = direction
        sender = message.case.sender
        self.other_side, self.our_side = (sender, recipient) if direction is Direction.INBOUND else (recipient, sender)
