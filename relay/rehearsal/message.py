"""A message for a test of the policy: a file, or a few lines of which one is built."""

import base64
import binascii
import re
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from relay.model.errors import ConfigurationError
from relay.policy.base import Strict

DATE = "Fri, 27 Nov 2026 09:00:00 +0000"
MESSAGE_ID = "<policy-test@sluis.invalid>"
MAX_BYTES = 100 * 1024 * 1024


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("this is no Base64") from None
    return text


class AttachmentText(Strict):
    """One attachment; its content is given in one way."""

    name: str = Field(default="", description="its file name")
    type: str = Field(default="application/octet-stream", pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$", description="the media type that it says")
    text: str | None = Field(default=None, description="its content as text")
    base64: Annotated[str, AfterValidator(_base64)] | None = Field(default=None, description="its content in Base64")
    file: str | None = Field(default=None, description="its content, from a file beside the tests")
    size: int | None = Field(default=None, ge=0, le=MAX_BYTES, description="so many octets of no meaning")

    @model_validator(mode="after")
    def _one_content(self) -> "AttachmentText":
        if sum(value is not None for value in (self.text, self.base64, self.file, self.size)) != 1:
            raise ValueError("an attachment has exactly one of 'text', 'base64', 'file' and 'size'")
        return self


class MessageText(Strict):
    """A few lines of which a message is built; or a file with a whole one (`eml`), and then nothing else."""

    eml: str | None = Field(default=None, description="a file beside the tests")
    from_: str | None = Field(default=None, alias="from", description="the From field; without it the sender of the envelope")
    to: tuple[str, ...] | None = Field(default=None, description="the To field; without it the recipients of the envelope")
    subject: str = Field(default="A test", description="the Subject field")
    text: str = Field(default="Dear reader\n", description="the text")
    html: str | None = Field(default=None, description="the same in HTML")
    headers: dict[str, str] = Field(default={}, description="more header fields")
    attachments: tuple[AttachmentText, ...] = Field(default=(), description="what is attached")

    @model_validator(mode="after")
    def _whole_or_built(self) -> "MessageText":
        if self.eml is not None and self.model_fields_set != {"eml"}:
            raise ValueError("with 'eml' the message is that file, and nothing else is said of it")
        return self


def build(given: MessageText, sender: str, recipients: tuple[str, ...], folder: Path) -> bytes:
    """The octets, every line ended by CRLF. Raises ConfigurationError for a file that is not there."""
    if given.eml is not None:
        return with_line_ends(_file(folder, given.eml))
    message = EmailMessage(policy=SMTP)
    message["From"] = given.from_ if given.from_ is not None else sender or "MAILER-DAEMON@sluis.invalid"
    message["To"] = ", ".join(given.to if given.to is not None else recipients)
    message["Subject"] = given.subject
    fields = {"Date": DATE, "Message-ID": MESSAGE_ID, **given.headers}
    for name, value in fields.items():
        message[name] = value
    message.set_content(given.text)
    if given.html is not None:
        message.add_alternative(given.html, subtype="html")
    for attachment in given.attachments:
        main, _, sub = attachment.type.partition("/")
        message.add_attachment(_content(attachment, folder), maintype=main, subtype=sub, filename=attachment.name or None)
    return message.as_bytes()


def _content(attachment: AttachmentText, folder: Path) -> bytes:
    if attachment.text is not None:
        return attachment.text.encode()
    if attachment.base64 is not None:
        return base64.b64decode(attachment.base64)
    if attachment.file is not None:
        return _file(folder, attachment.file)
    return b"Sluis\n" * ((attachment.size or 0) // 6) + b"." * ((attachment.size or 0) % 6)


def _file(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError([f"{path}: not a file inside {folder}"])
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError([f"{path}: larger than {MAX_BYTES} octets"])
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror}"]) from None


def with_line_ends(octets: bytes) -> bytes:
    """As SMTP brings them (RFC 5321 §2.3.8): a file may have been saved in another way."""
    return re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
