"""A message where none is declared: an .eml file sent as octets, or in an archive; a web archive; a mailbox. Mail programs, browsers and
word processors open these by name or content, and see parts in them.
"""

import re
from dataclasses import dataclass

HEAD = 64 * 1024
# message/delivery-status and its kin are fields without a body (RFC 3464), and no message.
_DECLARED = frozenset({"message/rfc822", "message/global", "message/news"})
_ENDINGS = (".eml", ".emlx", ".mht", ".mhtml", ".nws", ".mbox", ".mbx")
_SHOWN_AS_TEXT = (".txt", ".log")
_MIME = frozenset({b"mime-version", b"content-type", b"content-transfer-encoding", b"content-disposition"})
_TRACE = frozenset({b"received", b"return-path", b"message-id", b"delivered-to", b"dkim-signature", b"x-mailer", b"resent-from"})
_WRITTEN = frozenset({b"from", b"to", b"cc", b"subject", b"date", b"reply-to", b"sender"})
_FIELD = re.compile(rb"([!-9;-~]{1,200})[ \t]*:[^\r\n]*(?:\r\n?|\n|\Z)|[ \t]+[^\r\n]*(?:\r\n?|\n|\Z)")
# A byte order mark, empty lines, and the first line of Apple's .emlx: the size.
_IN_FRONT = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t]{0,100}\r?\n){0,1000}(?:\d{1,12}[ \t]*\r?\n(?=[!-9;-~]+:))?")
_MAILBOX_LINE = re.compile(rb"(?:\A|\r?\n\r?\n)From [^\r\n]{1,1000}\r?\n(?=[!-9;-~]{1,200}[ \t]*:)")  # RFC 4155


@dataclass(frozen=True, slots=True)
class Embedded:
    """`messages` with CRLF line ends; `meant` where somebody would open it as a message, so that what is wrong with it counts."""

    messages: list[bytes]
    meant: bool


def embedded_messages(data: bytes, declared: str, name: str) -> Embedded | None:
    """None for what is no message. `declared` is a media type or empty. Text without a name is shown as it stands, and opened by nobody."""
    if declared.startswith("text/") and (not name or declared == "text/rfc822-headers"):
        return None
    if declared.startswith("message/") and declared not in _DECLARED:
        return None
    start = _IN_FRONT.match(data)
    body = data[start.end() if start else 0 :]
    pieces = [piece for piece in _MAILBOX_LINE.split(body) if piece.strip()] if body.startswith(b"From ") else [body]
    fields = _field_names(pieces[0][:HEAD]) if pieces else set()
    called = declared in _DECLARED or name.lower().endswith(_ENDINGS)
    if not (fields & (_MIME | _TRACE) or len(fields & _WRITTEN) >= 2 or (called and fields)):
        return None
    return Embedded([_with_crlf(piece) for piece in pieces], called or _opened_by_content(fields, declared, name))


def _opened_by_content(fields: set[bytes], declared: str, name: str) -> bool:
    if declared.startswith("text/") or name.lower().endswith(_SHOWN_AS_TEXT):
        return False
    return b"mime-version" in fields or (b"content-type" in fields and (bool(fields & (_TRACE | _WRITTEN)) or "." not in name))


def _field_names(head: bytes) -> set[bytes]:
    """Up to the first line that is no field."""
    names: set[bytes] = set()
    position = 0
    while found := _FIELD.match(head, position):
        if found[1]:
            names.add(found[1].lower())
        elif not names:
            break
        if found.end() == position:
            break
        position = found.end()
    return names


def _with_crlf(data: bytes) -> bytes:
    """A file on most systems ends its lines in LF, and all readers take that. Anything else stays as it is."""
    return data if b"\r" in data else data.replace(b"\n", b"\r\n")
