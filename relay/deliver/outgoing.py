"""The octets of a message on their way out: prefix first, forged fields left out, dots stuffed, line ends never touched."""

import hashlib
from collections.abc import Iterable, Iterator

from relay.model.errors import SpoolError
from relay.model.message import Signed
from relay.model.ports import BodyReader

Range = tuple[int, int]
PIECE = 512 * 1024
"""Octets of a large message that are sent at once: each piece is a hand-over from the thread that reads it, and a write."""


def outgoing(signed: Signed, body: BodyReader) -> Iterator[bytes]:
    """Pieces ready for the wire, the final dot not among them. Raises SpoolError at the end if the body is not the one that was decided
    on (by SHA-256): then the final dot must not be sent."""
    stuffer = DotStuffer()
    ready, size = [stuffer.stuffed(signed.prefix)], 0
    for piece in left_out(_checked(body, signed.claimed.message.digest), signed.skip):
        ready.append(stuffer.stuffed(piece))
        size += len(piece)
        if size >= PIECE:
            yield b"".join(ready)
            ready, size = [], 0
    yield b"".join([*ready, stuffer.line_end()])


def octets(signed: Signed) -> int:
    """The size as sent, without dot-stuffing."""
    return len(signed.prefix) + signed.claimed.message.size - sum(end - start for start, end in signed.skip)


def _checked(body: BodyReader, digest: str) -> Iterator[bytes]:
    seen = hashlib.sha256()
    for chunk in body.chunks():
        seen.update(chunk)
        yield chunk
    if seen.hexdigest() != digest:
        raise SpoolError("the body is not the one that was recorded")


def left_out(chunks: Iterable[bytes], ranges: tuple[Range, ...]) -> Iterator[bytes]:
    """`chunks` without the byte ranges (start, end exclusive; sorted, apart)."""
    position = 0
    for chunk in chunks:
        kept_from = 0
        for start, end in ranges:
            low, high = max(start - position, kept_from), min(end - position, len(chunk))
            if low < high:
                yield chunk[kept_from:low]
                kept_from = high
        position += len(chunk)
        yield chunk[kept_from:]


class DotStuffer:
    """RFC 5321 §4.5.2: a line that begins with a dot gets one more, whatever the chunks."""

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the message begins at the start of a line

    def stuffed(self, piece: bytes) -> bytes:
        """The next octets."""
        if not piece:
            return piece
        tail = self._tail
        # The tail is shorter than what is looked for, so nothing is changed inside it, and its own bytes are never sent twice.
        self._tail = (tail + piece[-2:])[-2:]
        dots = piece.rfind(b".") + 1  # behind the last one there is nothing to look for: most of a Base64 body, at the speed of memchr
        begin = tail + piece[:dots]
        if b"\r\n." not in begin:
            return piece
        return begin.replace(b"\r\n.", b"\r\n..")[len(tail) :] + piece[dots:]

    def line_end(self) -> bytes:
        """CRLF if the message did not end with one: the final dot stands on a line of its own (RFC 5321 §4.1.1.4)."""
        return b"" if self._tail == b"\r\n" else b"\r\n"
