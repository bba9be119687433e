"""One SMTP reply: code, enhanced status code and text that cannot contradict each other (RFC 5321 §4.2, RFC 3463)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client hears.

    `code` is the three-digit SMTP code; `subject` and `detail` are the last two numbers of the enhanced status code, whose
    class is the first digit of `code`, so that a 4xx can never say 5.x.x. `None` where RFC 2034 §4 forbids one (220 greeting,
    EHLO, 3xx). `text` may have several lines; it is ASCII without control characters.
    """

    code: int
    subject: int | None
    detail: int | None
    text: str

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"not an SMTP reply code: {self.code}")
        if (self.subject is None) != (self.detail is None):
            raise ValueError("an enhanced status code has a subject and a detail, or neither")
        if not (self.text.isascii() and self.text.replace("\n", "").isprintable()):
            raise ValueError("a reply text is printable ASCII")

    @property
    def status(self) -> str | None:
        """The enhanced status code, such as `5.7.1`."""
        return None if self.subject is None else f"{self.code // 100}.{self.subject}.{self.detail}"

    @property
    def permanent(self) -> bool:
        """A 5xx."""
        return self.code >= 500

    @property
    def transient(self) -> bool:
        """A 4xx."""
        return 400 <= self.code < 500

    @property
    def positive(self) -> bool:
        """A 2xx or 3xx."""
        return self.code < 400

    def __str__(self) -> str:
        return f"{self.code} {self.status} {self.text}" if self.status else f"{self.code} {self.text}"

    def wire(self) -> bytes:
        """The reply as sent: every line with code and enhanced status code (RFC 2034 §4), CRLF at the end."""
        status = f"{self.status} " if self.status else ""
        lines = self.text.split("\n")
        marks = ["-"] * (len(lines) - 1) + [" "]
        return "".join(f"{self.code}{mark}{status}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode("ascii")
