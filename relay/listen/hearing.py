"""Whether the client of a message can still hear its receipt. What it can't hear is not taken into custody: it sends it again, perhaps to
another process, and would have it delivered twice.

A client that has closed its connection and one that has only shut down its sending side look the same until something is said: the first
one's machine answers that with a reset, the second one's confirms it (RFC 9293 §3.6, §3.10.7.1).
"""

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.listen.channel import Channel

_OPEN = 1  # TCP_ESTABLISHED, the first octet of struct tcp_info (linux/tcp.h, tcp(7))


class Hearing:
    """A Hearing (relay/model/ports.py) of the connection as it is now."""

    def __init__(self, channel: "Channel") -> None:
        self._channel = channel
        self._socket: socket.socket | None = channel.transport.get_extra_info("socket") if channel.transport is not None else None

    def left(self) -> bool:
        """From any thread: the kernel is asked, which knows before the event loop does."""
        if self._socket is None or self._channel.transport is None:
            return True
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _OPEN
        except (OSError, ValueError):  # closed: uvloop's socket says so with a ValueError
            return True

    async def hears(self, code: int) -> bool:
        """Says the first digit of the reply, which no client takes for one, and waits whether it arrives."""
        channel = self._channel
        if channel.transport is None or channel.transport.is_closing():
            return False
        channel.begin(str(code)[:1].encode("ascii"))
        return await channel.arrived()
