"""Reads one object of a folder, each chunk by its tag."""

from collections.abc import Iterator
from typing import BinaryIO

from relay.model.errors import SpoolError, SpoolUnavailable
from relay.store.spool.format import read_body, read_size


class SpoolReader:
    """A BodyReader over one object; `name` is what its tags are bound to."""

    def __init__(self, file: BinaryIO, name: str, key: bytes) -> None:
        self._file = file
        self._name = name
        self._key = key
        try:
            self.size = read_size(self._file, name)
        except SpoolError:
            self._file.close()
            raise
        except OSError as error:
            self._file.close()
            raise SpoolUnavailable(f"spool object {name}: {error.strerror}") from None

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """From offset `start` on; each chunk is checked before it is given out."""
        try:
            yield from read_body(self._file, self._name, self._key, start)
        except OSError as error:  # a disk that can't be read just now has altered nothing
            raise SpoolUnavailable(f"spool object {self._name}: {error.strerror}") from None

    def close(self) -> None:
        self._file.close()
