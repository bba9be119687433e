"""Content-Transfer-Encodings, without repair: what a decoder would have to mend, two decoders mend differently (RFC 2045 §6). The only
place that knows pybase64: half of the work on a large message would be the standard library's Base64.
"""

import binascii
import io
import re

import pybase64

from relay.read.ambiguity import Ambiguous

IDENTITY = frozenset({"7bit", "8bit", "binary"})
ENCODED = frozenset({"base64", "quoted-printable"})
# a wrong escape, eight bits, white space at the end of a line (§6.7 rule 3: to be deleted, and often is not)
_BAD_QP = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r\n)|[^\t\r\n -~]|[ \t](?=\r\n|\Z)")


_PIECE = 256 * 1024  # octets: stays in the processor's cache


def decode_body(data: bytes, start: int, end: int, encoding: str, part: str) -> bytes:
    """The body that is data[start:end]; of a large one no second copy is made on the way. Raises Ambiguous."""
    if encoding in IDENTITY:
        return data[start:end]
    if encoding == "base64":
        try:
            return _base64(data, start, end)
        except binascii.Error:
            raise Ambiguous("transfer-encoding-malformed", part) from None
    if encoding == "quoted-printable":
        if _BAD_QP.search(data, start, end):
            raise Ambiguous("transfer-encoding-malformed", part)
        return binascii.a2b_qp(memoryview(data)[start:end])
    raise Ambiguous("transfer-encoding-unknown", part)


def _base64(data: bytes, start: int, end: int) -> bytes:
    """Raises binascii.Error."""
    decoded = io.BytesIO()  # gives its own bytes at the end, and no copy
    rest = b""
    while start < end:
        stop = min(start + _PIECE, end)
        if stop < end:  # whole lines, and never between CR and LF
            line_end = data.rfind(b"\r\n", start, stop)
            stop = line_end + 2 if line_end >= 0 else stop - (data[stop - 1] == 13)
        text = rest + _without_line_ends(data[start:stop])
        if over := len(text) % 4:
            rest, text = text[-over:], text[:-over]
        else:
            rest = b""
        if text and decoded.tell() % 3:  # something behind a padding
            raise binascii.Error
        decoded.write(pybase64.b64decode(text, validate=True))
        start = stop
    if rest:
        raise binascii.Error
    return decoded.getvalue()


def _without_line_ends(lines: bytes) -> bytes | bytearray:
    """CR and LF stand in pairs, as was asked of the whole message. Where all lines but the last are as long as the first, as they mostly
    are, the pairs are cut out by their places, which costs a third of looking at every octet."""
    length = lines.find(b"\r\n")
    size = len(lines) // (length + 2)
    last = lines[size * (length + 2) :].translate(None, b"\r\n")
    text = bytearray(lines)
    del text[size * (length + 2) :]
    if length > 0 and text[length :: length + 2] == b"\r" * size and text[length + 1 :: length + 2] == b"\n" * size:
        del text[length + 1 :: length + 2], text[length :: length + 1]
        if b"\r" not in text:
            text += last
            return text
    return lines.translate(None, b"\r\n")
