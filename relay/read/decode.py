"""Content-Transfer-Encodings, without repair: what a decoder would have to mend, two decoders mend differently (RFC 2045 §6)."""

import binascii
import re

from relay.read.ambiguity import Ambiguous

IDENTITY = frozenset({"7bit", "8bit", "binary"})
# a wrong escape, eight bits, white space at the end of a line (§6.7 rule 3: to be deleted, and often is not)
_BAD_QP = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r\n)|[^\t\r\n -~]|[ \t](?=\r\n|\Z)")


def decode_body(body: bytes, encoding: str, part: str) -> bytes:
    """Raises Ambiguous."""
    if encoding in IDENTITY:
        return body
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body.replace(b"\r\n", b""), strict_mode=True)
        except binascii.Error:
            raise Ambiguous("transfer-encoding-malformed", part) from None
    if encoding == "quoted-printable":
        if _BAD_QP.search(body):
            raise Ambiguous("transfer-encoding-malformed", part)
        return binascii.a2b_qp(body)
    raise Ambiguous("transfer-encoding-unknown", part)
