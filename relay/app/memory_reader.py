"""A body that is still in memory, as a BodyReader: what was accepted in this moment is not read back."""

from collections.abc import Iterator


class MemoryReader:
    """`data` is the whole message."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """From offset `start` on, in one piece: what is kept in memory is small (settings: spool.memory_body)."""
        if start < self.size:
            yield self._data[start:] if start else self._data

    def close(self) -> None:
        pass
