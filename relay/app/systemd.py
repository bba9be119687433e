"""sd_notify(3): what a process tells whoever started it, systemd or a parent of ours: that it is ready, that it stops, that it lives."""

import asyncio
import contextlib
import os
import socket

BEATS = 3
"""Signs of life in the time after which a process is taken for hung: one may come late, and one may be lost (sd_watchdog_enabled(3))."""


def tell(state: str) -> None:
    """One datagram to the socket that was named, if one was. It never waits: whoever listens may stand still."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    # Nobody may listen any more, and mail does not depend on it.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto(state.encode(), "\0" + name[1:] if name.startswith("@") else name)


def watched() -> float:
    """Seconds of silence after which this process is taken for hung; 0 where nobody watches it."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 1e6 if given.isdecimal() else 0.0


async def beat() -> None:
    """Says that the event loop turns, until it is cancelled. Returns at once where nobody watches."""
    silence = watched()
    while silence:
        tell("WATCHDOG=1")
        await asyncio.sleep(silence / BEATS)
