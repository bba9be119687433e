"""RFC 2047 encoded words to text."""

import re
from email.errors import HeaderParseError
from email.header import decode_header

MAX_TEXT = 4 * 1024  # characters; the standard decoder walks over the rest of the text for each word
_ENCODED_WORD = re.compile(r"=\?[^?]+\?[bqBQ]\?[^?]*\?=")


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
