"""What is sent, from where, and the end that each recipient must meet."""

from dataclasses import dataclass
from importlib.resources import files

DE_VRIES = "s.devries@prosecution.example"
CLERK = "clerk@court.example"
DELIVERED, HELD, QUARANTINED, REFUSED = "delivered", "held", "quarantined", "refused"
MAIL_SERVER = "127.0.0.1"
STRANGER = "127.0.0.9"


@dataclass(frozen=True, slots=True)
class Scene:
    """One message. `ends` maps each recipient to its end; `source` is the address that the client connects from; `at_mail` says that
    it is refused before DATA, so that the store holds an event and no message."""

    file: str
    shows: str
    ends: dict[str, str]
    sender: str = DE_VRIES
    source: str = MAIL_SERVER
    at_mail: bool = False

    @property
    def code(self) -> int:
        """What the client must hear: one reply for all recipients."""
        return 550 if set(self.ends.values()) == {REFUSED} else 250

    @property
    def raw(self) -> bytes:
        """The message with CRLF line ends. EICAR is put in here, so that no virus scanner trips over the source."""
        text = (files("relay") / "demo" / "messages" / self.file).read_bytes()
        eicar = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
        return text.replace(b"@EICAR@", eicar).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


SCENES = (
    Scene("plain.eml", "plain text", {CLERK: DELIVERED}),
    Scene("html.eml", "HTML", {CLERK: DELIVERED}),
    Scene("attachment.eml", "an attachment, to a partner that is not open yet", {"desk@police.example": HELD}),
    Scene("signed.eml", "signed with S/MIME", {CLERK: DELIVERED}),
    Scene("dutch.eml", "Dutch, 8-bit", {CLERK: DELIVERED}),
    Scene(
        "utf8.eml", "international addresses", {"griffie@rechtbank-zürich.example": DELIVERED}, sender="renée.müller@prosecution.example"
    ),
    Scene("eicar.eml", "a virus", {CLERK: QUARANTINED}),
    Scene("encrypted-zip.eml", "an encrypted archive", {CLERK: QUARANTINED}),
    Scene("forged.eml", "a forged sender", {CLERK: REFUSED}),
    Scene("stranger.eml", "a client that may not send", {CLERK: REFUSED}, source=STRANGER, at_mail=True),
    Scene(
        "three-ends.eml",
        "three recipients, three ends",
        {CLERK: DELIVERED, "desk@police.example": HELD, "info@unknown.example": QUARANTINED},
    ),
)
