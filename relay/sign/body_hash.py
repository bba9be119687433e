"""The DKIM body hash of the relaxed canonical body, computed while a message streams by (RFC 6376 §3.4.4, §3.7)."""

import base64
import hashlib

WHITESPACE = b" \t\r\n"
PIECE = b"\r\n" * 4096  # empty lines are hashed in pieces, so that a body of nothing but them needs no memory


class RelaxedBodyHash:
    """SHA-256 over the relaxed canonical body. Fed with a whole message, header included, in chunks of any size; line ends must be
    CRLF. What is before the first empty line is the header and is not hashed; a message without an empty line has an empty body.

    Memory is that of one chunk: of what may still turn out to be trailing (white space, empty lines) only a count is kept.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._in_header = True
        self._tail = b"\r\n"  # before the first byte stands a line start: a message may begin with the empty line
        self._empty_lines = 0
        self._started = False

    def update(self, chunk: bytes) -> None:
        """The next bytes of the message."""
        data = self._tail + chunk if self._tail else chunk
        if self._in_header:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._tail = data[-3:]
                return
            self._in_header = False
            data = data[end + 4 :]
        self._body(data)

    def base64(self) -> str:
        """The value for `bh=`. Called once, at the end."""
        if self._started:
            self._hash.update(b"\r\n")  # a body that is not empty ends in CRLF, and in one only
        return base64.b64encode(self._hash.digest()).decode("ascii")

    def _body(self, data: bytes) -> None:
        text = data.rstrip(WHITESPACE)
        if text:
            self._release_empty_lines()
            # Behind its last blank and what follows that nothing is to be reduced: of most of a Base64 body nothing.
            blanks = max(text.rfind(b" "), text.rfind(b"\t")) + len(b" \r\n")
            self._hash.update(_reduced(text[:blanks]))
            with memoryview(text) as whole:
                self._hash.update(whole[blanks:])
            self._started = True
        self._keep_back(data[len(text) :])

    def _release_empty_lines(self) -> None:
        count = self._empty_lines
        while count > 0:
            self._hash.update(PIECE[: 2 * count])
            count -= len(PIECE) // 2
        self._empty_lines = 0

    def _keep_back(self, run: bytes) -> None:
        """White space at the end of a chunk: lines are counted; a blank or CR that may belong to what follows stays as one byte each."""
        lines = run.count(b"\r\n")
        self._empty_lines += lines
        rest = run[run.rfind(b"\r\n") + 2 :] if lines else run
        blank = b" " if rest.rstrip(b"\r") else b""
        self._tail = blank + (b"\r" if rest.endswith(b"\r") else b"")


def _reduced(text: bytes) -> bytes:
    """Runs of blanks to one, none at line ends. `replace` works at memory speed; each pass halves every run, so that a chunk of n bytes
    needs at most log2(n) passes."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    if b" \r\n" in text:
        text = text.replace(b" \r\n", b"\r\n")
    return text
