"""The sockets that listeners listen on: bound here, or handed over by a parent that bound them for several processes."""

import socket
from collections.abc import Mapping, Sequence

from relay.model.errors import ConfigurationError
from relay.settings.models import Listener

BACKLOG = 512  # connections that wait to be accepted: what a burst brings while the loop is busy for some milliseconds


def bind(listener: Listener) -> list[socket.socket]:
    """A socket for each address. Raises ConfigurationError that names the one that can't be had; then none is bound."""
    return [group[0] for group in bind_shared(listener, 1)]


def bind_shared(listener: Listener, processes: int) -> list[list[socket.socket]]:
    """For each address a socket for each process: the kernel spreads connections over them (SO_REUSEPORT, socket(7)). Raises
    ConfigurationError that names the address that can't be had; then none is bound."""
    made: list[list[socket.socket]] = []
    for text in listener.addresses:
        made.append([])
        try:
            for _ in range(processes):
                port = made[-1][0].getsockname()[1] if made[-1] else None  # port 0 has become a real one
                made[-1].append(_listening(text, port, shared=processes > 1))
        except OSError as error:
            for group in made:
                for item in group:
                    item.close()
            raise ConfigurationError([f"listener {listener.name}: can't listen on {text}: {error.strerror}"]) from None
    return made


class Inherited:
    """`descriptors` are those of each listener, by name: one for each address, in their order. Each can be taken once."""

    def __init__(self, descriptors: Mapping[str, Sequence[int]]) -> None:
        self._left = dict(descriptors)

    def take(self, listener: Listener) -> list[socket.socket]:
        """Raises ConfigurationError for a listener that the parent did not bind."""
        descriptors = self._left.pop(listener.name, ())
        if len(descriptors) != len(listener.addresses):
            raise ConfigurationError([f"listener {listener.name}: with several processes other addresses need a restart"])
        return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def _listening(text: str, port: int | None, *, shared: bool) -> socket.socket:
    """A socket on `127.0.0.1:25` or `[::1]:25`, or on another port of that address. Raises OSError."""
    host, _, written = text.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # [::] and 0.0.0.0 are two listeners
        made.setblocking(False)
        made.bind((host.strip("[]"), int(written) if port is None else port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
