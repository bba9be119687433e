"""One timer for the many waits of a connection: a wait that ends in time costs no timer of its own."""

import asyncio
from collections.abc import Callable


class Patience:
    """`over` is called when a wait has lasted longer than it may. The timer is left as it is when a wait ends, and set anew when it fires
    before the wait of then may end: of thousands of waits, few touch it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, over: Callable[[], None]) -> None:
        self._loop = loop
        self._over = over
        self._until: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._fires = 0.0

    def begin(self, seconds: float) -> None:
        """A wait begins that may last so long."""
        self._until = self._loop.time() + max(seconds, 0.0)
        if self._handle is None or self._fires > self._until:
            self._set(self._until)

    def end(self) -> None:
        """It is over."""
        self._until = None

    def close(self) -> None:
        """No wait begins any more."""
        self._until = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._fires = at
        self._handle = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._until is None:
            return
        if self._loop.time() < self._until:
            self._set(self._until)
            return
        self._until = None
        self._over()
