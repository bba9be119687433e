"""What an inspector said of a digest, kept for a while: the same letter head, signature or attachment comes again and again."""

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")
MOST = 10_000
"""Digests that are remembered, some 300 octets each; the oldest goes."""


class Remembered(Generic[Value]):
    """Of one object whose answer depends on the octets alone. An empty digest is not remembered."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int = MOST) -> None:
        self._known: OrderedDict[bytes, Value] = OrderedDict()
        self._most = most

    def get(self, digest: bytes) -> Value | None:
        """None: not known, or no longer."""
        return self._known.get(digest)

    def put(self, digest: bytes, value: Value) -> Value:
        """Gives the value back."""
        if digest:
            self._known[digest] = value
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return value
