"""Event loops whose clock a test puts forward: a minute of silence takes no time, and who is polite has all of that minute."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVarTuple, Unpack

import uvloop

Args = TypeVarTuple("Args")
STEPS, TURNS = 50, 5


class Timer:
    """What asyncio and the relay ask of a timer: to be called off."""

    def __init__(self, loop: "MovedUvloop", when: float, run: Callable[[], object]) -> None:
        self._loop = loop
        self._when = when
        self._run = run
        self._real: Any = None

    def set(self) -> None:
        """By the clock as it is now."""
        self._real = self._loop.real_later(max(self._when - self._loop.time(), 0.0), self._fire)

    def set_again(self) -> None:
        """The clock was moved."""
        self._real.cancel()
        self.set()

    def _fire(self) -> None:
        self._loop.timers.discard(self)
        self._run()

    def cancel(self) -> None:
        """Before or after it has fired."""
        self._loop.timers.discard(self)
        self._real.cancel()

    def cancelled(self) -> bool:
        """As asyncio.Handle."""
        return bool(self._real.cancelled())

    def when(self) -> float:
        """As asyncio.TimerHandle."""
        return self._when


class MovedAsyncio(asyncio.SelectorEventLoop):
    """asyncio looks at its clock before each turn."""

    _ahead = 0.0

    def time(self) -> float:
        return super().time() + self._ahead

    def move(self, seconds: float) -> None:
        """So much later."""
        self._ahead += seconds


class MovedUvloop(uvloop.Loop):
    """The timers of libuv run by a clock of its own: they are set again when this one moves."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0
        self.timers: set[Timer] = set()

    def time(self) -> float:
        return super().time() + self._ahead

    def real_later(self, delay: float, run: Callable[[], object]) -> Any:
        """By the clock of the machine."""
        return super().call_later(delay, run)

    def call_later(self, delay: float, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None) -> Any:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None) -> Any:
        timer = Timer(self, when, partial((context or copy_context()).run, callback, *args))
        self.timers.add(timer)
        timer.set()
        return timer

    def move(self, seconds: float) -> None:
        """So much later."""
        self._ahead += seconds
        for timer in list(self.timers):
            timer.set_again()


MOVED: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": MovedAsyncio, "uvloop": MovedUvloop}


async def silence(seconds: float) -> None:
    """So much time passes on a loop of MOVED. In steps of a few turns each: a wait that begins a little later has most of it, too, and what
    is left of that passes as time does."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MovedAsyncio | MovedUvloop)
    for _ in range(STEPS):
        for _ in range(TURNS):
            await asyncio.sleep(0)
        loop.move(seconds / STEPS)
