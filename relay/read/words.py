"""RFC 2047 encoded words to text."""

import re
from email.errors import HeaderParseError
from email.header import decode_header

MAX_TEXT = 4 * 1024  # characters; the standard decoder walks over the rest of the text for each word
_ENCODED_WORD = re.compile(r"=\?[^?]+\?[bqBQ]\?[^?]*\?=")
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_STRICT_WORD = rf"=\?[A-Za-z0-9_.:-]+\?(?:[bB]\?{_BASE64}|[qQ]\?(?:[!-<>@-~]|=[0-9A-Fa-f]{{2}})*)\?="
WORDS = re.compile(rf"{_STRICT_WORD}(?:[ \t]+{_STRICT_WORD})*")
"""Words and nothing else, each whole (RFC 2047 §2); everything else is decoded by some readers and left as it is by others."""


def decoded_words(value: str, errors: str = "strict") -> str:
    """Raises LookupError for a charset that is not known, ValueError for a word that can't be decoded or a text that is too long to try."""
    if len(value) > MAX_TEXT:
        raise ValueError("too long")
    if not _ENCODED_WORD.search(value):
        return value
    try:
        pieces = decode_header(value)
    except HeaderParseError as error:
        raise ValueError(str(error)) from None
    return "".join(piece.decode(charset or "ascii", errors) if isinstance(piece, bytes) else piece for piece, charset in pieces)
