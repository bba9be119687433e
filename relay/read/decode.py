"""Content-Transfer-Encodings, without repair: what a decoder would have to mend, two decoders mend differently (RFC 2045 §6)."""

import binascii
import re

from relay.read.ambiguity import Ambiguous

IDENTITY = frozenset({"7bit", "8bit", "binary"})
ENCODED = frozenset({"base64", "quoted-printable"})
# a wrong escape, eight bits, white space at the end of a line (§6.7 rule 3: to be deleted, and often is not)
_BAD_QP = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r\n)|[^\t\r\n -~]|[ \t](?=\r\n|\Z)")


def decode_body(body: bytes, encoding: str, part: str) -> bytes:
    """Raises Ambiguous."""
    if encoding in IDENTITY:
        return body
    if encoding == "base64":
        try:
            text = body.replace(b"\r\n", b"")
            if len(text) % 4 or text.endswith(b"==="):  # which strict_mode lets pass
                raise binascii.Error
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            raise Ambiguous("transfer-encoding-malformed", part) from None
    if encoding == "quoted-printable":
        if _BAD_QP.search(body):
            raise Ambiguous("transfer-encoding-malformed", part)
        return binascii.a2b_qp(body)
    raise Ambiguous("transfer-encoding-unknown", part)
