"""The bytes of a message as they come: DATA with dot-unstuffing and its one end (RFC 5321 §4.1.1.4), BDAT in chunks (RFC 3030 §2), and
the same line discipline for both, in pieces and without a loop over lines.

Bare CR, bare LF and NUL never pass as they are, and never end a message: SMTP smuggling (CVE-2023-51764 and its family) lives off servers
that disagree about what ends one.
"""

import re

from relay.model.line_ends import only_crlf

END = b"\r\n.\r\n"
_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


class LineDiscipline:
    """`bad_line_ends` says that bare CR, bare LF or NUL were seen; with `normalise` they are put right (and it is still said)."""

    def __init__(self, normalise: bool = False) -> None:
        self._normalise = normalise
        self.bad_line_ends = False

    def check(self, plain: bytes) -> bytes:
        """`plain` never ends between CR and LF, but at the end of the message."""
        if b"\0" in plain or not only_crlf(plain):
            self.bad_line_ends = True
            if self._normalise:
                # In this order: CR NUL LF is two line ends, however the pieces fall.
                return _ANY_LINE_END.sub(b"\r\n", plain).replace(b"\0", b"")
        return plain


class DataDecoder(LineDiscipline):
    """Feed it what the socket gives; it gives back the message's bytes. `rest` is what follows the end of data."""

    def __init__(self, normalise: bool = False) -> None:
        super().__init__(normalise)
        # The line before the message ended in CRLF: so a first line of a single dot is an end, too.
        self._held = b"\r\n"
        self._virtual = 2
        self.finished = False
        self.rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """The next clean bytes, perhaps none. After `finished` there is nothing to feed."""
        buffer = self._held + chunk
        end = _end(buffer)
        if end >= 0:
            self.finished = True
            self.rest = buffer[end + len(END) :]
            self._held = b""
            return self._clean(buffer, end + 2)
        keep = next((size for size in (4, 3, 2, 1) if buffer.endswith(END[:size])), 0)
        ready = len(buffer) - keep
        self._held = buffer[ready:]
        return self._clean(buffer, ready)

    def _clean(self, buffer: bytes, ready: int) -> bytes:
        """So many octets never end between CR and LF, nor between CRLF and a dot: those are held back."""
        if not ready:
            return b""
        begin, self._virtual = self._virtual, 0
        if buffer.find(b"\r\n.", 0, buffer.rfind(b".", 0, ready) + 1) < 0:
            return self.check(buffer[begin:ready])
        return self.check(buffer[:ready].replace(b"\r\n.", b"\r\n")[begin:])


def _end(buffer: bytes) -> int:
    """Where the first END begins, or -1. Mostly it is the last thing that came; else it is looked for up to the last dot only: most of a
    Base64 body has none, and a single octet is found at the speed of memchr."""
    last = len(buffer) - len(END) if buffer.endswith(END) else -1
    dot = buffer.rfind(b".", 0, last if last >= 0 else None)
    end = buffer.find(END, 0, dot + 3)
    return end if end >= 0 else last


class ChunkDecoder(LineDiscipline):
    """Feed it the octets of the chunks, in any pieces. They are counted, not marked: a dot means nothing (RFC 3030 §2)."""

    def __init__(self, normalise: bool = False) -> None:
        super().__init__(normalise)
        self._held = b""  # a CR whose LF may stand in the next piece, or the next chunk
        self._complete = True  # nothing yet, or the last line has its end

    def feed(self, piece: bytes) -> bytes:
        """The next clean bytes, perhaps none."""
        buffer = self._held + piece
        ready = len(buffer) - buffer.endswith(b"\r")
        self._held = buffer[ready:]
        return self._clean(buffer[:ready])

    def finish(self) -> bytes:
        """After the last chunk. A last line without CRLF gets one: it can leave in no other way (RFC 5321 §4.1.1.4), and signatures are
        made over a body that has it (RFC 6376 §3.4.3, §3.4.4)."""
        tail, self._held = self._clean(self._held), b""
        return tail if self._complete else tail + b"\r\n"

    def _clean(self, piece: bytes) -> bytes:
        plain = self.check(piece)
        if plain:
            self._complete = plain.endswith(b"\r\n")
        return plain
