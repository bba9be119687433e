"""The lenient readers, for what the strict one refuses: the parts of both are inspected, and where they differ is said.

stdlib `email` with compat32 (policy.SMTP is quadratic on hostile headers), and fast-mail-parser, which drops preamble and epilogue and can
give zero parts without a warning.
"""

import email.parser
import email.policy
from email.message import Message

import fast_mail_parser

from relay.read.limits import LimitReached, ReadLimits
from relay.read.part import Leaf
from relay.read.words import decoded_words

PIECE = 8192
"""Octets that the standard reader is given at once, as it does by itself (email.parser.Parser.parse)."""


class Unreadable(Exception):
    """The fast parser gave up."""


def with_stdlib(data: bytes, limits: ReadLimits) -> list[Leaf]:
    """Raises LimitReached; anything else that the reader raises is the caller's to name."""
    leaves: list[Leaf] = []
    # As email.message_from_bytes, without a second copy and a third in four octets for each character.
    parser = email.parser.BytesFeedParser(policy=email.policy.compat32)
    for start in range(0, len(data), PIECE):
        parser.feed(data[start : start + PIECE])
    message = parser.close()
    _walk(message, "", 0, limits, leaves)
    return leaves


def _walk(message: Message, path: str, depth: int, limits: ReadLimits, leaves: list[Leaf]) -> None:
    if depth > limits.depth:
        raise LimitReached("depth")
    if len(leaves) > limits.parts:
        raise LimitReached("parts")
    for role, text in (("preamble", message.preamble), ("epilogue", message.epilogue)):
        if text and text.strip():
            leaves.append(Leaf(f"{path}.{role}".lstrip("."), "text/plain", "", True, text.encode("utf-8", "surrogateescape")))
    payload = message.get_payload()
    if isinstance(payload, list):
        for index, child in enumerate(payload, 1):
            if isinstance(child, Message):
                _walk(child, f"{path}.{index}".lstrip("."), depth + 1, limits, leaves)
        return
    decoded = message.get_payload(decode=True)
    leaves.append(
        Leaf(
            path=path or "1",
            media_type=message.get_content_type(),
            name=_name(message),
            inline=message.get_content_disposition() != "attachment",
            data=decoded if isinstance(decoded, bytes) else b"",
        )
    )


def _name(message: Message) -> str:
    """As people see it: the standard reader replaces octets above 127 and leaves RFC 2047 words as they are."""
    named = Message()
    for name, value in message.raw_items():
        if name.lower() in ("content-disposition", "content-type"):
            named[name] = _as_text(str(value))
    name = str(named.get_filename() or "")
    try:
        return decoded_words(name)
    except (LookupError, ValueError):
        return name


def _as_text(value: str) -> str:
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def with_fast_parser(data: bytes, limits: ReadLimits) -> list[Leaf]:
    """Raises LimitReached and Unreadable."""
    leaves: list[Leaf] = []
    try:
        tree = fast_mail_parser.parse_email_tree(data)
    except fast_mail_parser.ParseError as error:
        raise Unreadable(str(error)) from None
    _descend(tree, "", 0, limits, leaves)
    return leaves


def _descend(part: "fast_mail_parser.PyMimePart", path: str, depth: int, limits: ReadLimits, leaves: list[Leaf]) -> None:
    if depth > limits.depth:
        raise LimitReached("depth")
    if len(leaves) > limits.parts:
        raise LimitReached("parts")
    for index, child in enumerate(part.children, 1):
        _descend(child, f"{path}.{index}".lstrip("."), depth + 1, limits, leaves)
    if part.content is not None and not part.children:
        leaves.append(Leaf(path or "1", part.content_type.lower(), part.filename or "", part.disposition != "attachment", part.content))


def differ(one: list[Leaf], other: list[Leaf]) -> bool:
    """Whether two readers see different content: bytes and names, without regard to order, line ends at the end, preamble and epilogue."""

    def content(leaves: list[Leaf]) -> list[tuple[str, bytes]]:
        return sorted((leaf.name, leaf.data.rstrip(b"\r\n")) for leaf in leaves if not leaf.path.endswith(("preamble", "epilogue")))

    return content(one) != content(other)
