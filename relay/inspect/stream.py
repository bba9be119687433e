"""One compressed stream inside more octets: what it unpacks to, and where it ends. The file objects of the standard library stumble over
what stands behind, and say neither.
"""

import zlib
from typing import Any

from relay.inspect.opening import PIECE

_FIRST_PIECE = 512  # grows: of a million tiny streams, none may cost a large piece


class Stream:
    """`unpacker` is one of the decompressor objects of zlib, bz2 or lzma. `position` is how far it has read; where the stream ends, once
    it is at its end.
    """

    def __init__(self, unpacker: Any, data: bytes, start: int, end: int) -> None:
        self._unpacker = unpacker
        self._data = data
        self._end = end
        self._tail = b""
        self._piece = _FIRST_PIECE
        self.position = start

    def read(self, size: int, /) -> bytes:
        """At most `size` octets; none at the end. Raises EOFError where the data ends first, and what the unpacker raises."""
        while not self._unpacker.eof:
            packed = self._next()
            piece: bytes = self._unpacker.decompress(packed, size)
            self._tail = getattr(self._unpacker, "unconsumed_tail", b"")  # zlib gives back what it had no room for
            if self._unpacker.eof:
                self.position -= len(self._unpacker.unused_data)
            if piece:
                return piece
            if not packed and self.position >= self._end and not self._unpacker.eof:
                raise EOFError("the stream is cut off")
        return b""

    def _next(self) -> bytes:
        if self._tail or not getattr(self._unpacker, "needs_input", True):  # bz2 and lzma keep it
            return self._tail
        piece = self._data[self.position : min(self.position + self._piece, self._end)]
        self._piece = min(2 * self._piece, PIECE)
        self.position += len(piece)
        return piece


def raw_deflate() -> Any:
    """RFC 1951, without the frame of RFC 1950."""
    return zlib.decompressobj(-zlib.MAX_WBITS)
