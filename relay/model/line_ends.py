"""Whether the lines of a message end in CRLF, and in nothing else (RFC 5321 §2.3.8)."""

import io

_PIECE = 64 * 1024  # octets: stays in the processor's cache


def only_crlf(octets: bytes) -> bool:
    """Whether there is no CR and no LF that is not half of a CRLF. The decoder for universal newlines notes which kinds it has met: one
    pass, where counting CR, LF and CRLF takes three, and three times as long."""
    notes = io.IncrementalNewlineDecoder(None, translate=False)
    view = memoryview(octets)
    for start in range(0, len(octets), _PIECE):
        notes.decode(str(view[start : start + _PIECE], "latin-1"))
    notes.decode("", final=True)  # a CR that nothing follows
    return notes.newlines in (None, "\r\n")
