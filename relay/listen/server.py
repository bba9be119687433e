"""The listening sockets, and the work that outlives a session: what was received is brought to its end."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from relay.listen.channel import CHUNK
from relay.listen.intake import Intake
from relay.listen.limits import HANDSHAKE_SECONDS, ConnectionLimits
from relay.listen.session import Session
from relay.listen.sockets import BACKLOG, Inherited, bind
from relay.listen.tls import ServerTls
from relay.model.errors import ConfigurationError
from relay.settings.models import Listener, Settings

log = logging.getLogger("sluis.listen")
Result = TypeVar("Result")


@dataclass(slots=True)
class Counts:
    """Plain numbers since the start, for metrics."""

    sessions: int = 0
    commands: int = 0
    messages: int = 0
    bugs: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    shed: Counter[str] = field(default_factory=Counter)  # by reason: what was refused because there was too much of it


class ListenerGroup:
    """One listener of the settings: its sockets and sessions."""

    def __init__(self, hostname: str, settings: Listener, intake: Intake, counts: Counts, inherited: Inherited | None = None) -> None:
        self.hostname = hostname
        self._inherited = inherited
        self.settings = settings
        self.intake = intake
        self.counts = counts
        self.limits = ConnectionLimits(settings, counts.shed)
        self.tls = ServerTls(settings.tls) if settings.tls else None
        self.scratch = bytearray(CHUNK)
        self.sessions: set[Session] = set()
        self.stopping = False
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._running: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Binds every address. Raises ConfigurationError that names the one that can't be had; then none is bound."""
        self._sockets = bind(self.settings) if self._inherited is None else self._inherited.take(self.settings)
        await self._serve()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        context = self.tls.context if self.tls and self.settings.implicit_tls else None
        patience = HANDSHAKE_SECONDS if context else None
        # The sockets stay ours: a new server takes them over without a moment in which nobody listens.
        self._servers = [
            await loop.create_server(
                lambda: Session(self, loop), sock=item.dup(), backlog=BACKLOG, ssl=context, ssl_handshake_timeout=patience
            )
            for item in self._sockets
        ]

    @property
    def bound(self) -> list[tuple[str, int]]:
        """Addresses and ports, as they are: port 0 has become a real one."""
        return [item.getsockname()[:2] for item in self._sockets]

    async def apply(self, settings: Listener) -> None:
        """Limits and certificates, without closing anything. Raises ConfigurationError, and then nothing has changed."""
        self.tls = ServerTls(settings.tls) if settings.tls else None
        self.settings = settings
        self.limits.settings = settings
        if settings.implicit_tls:
            before = self._servers
            await self._serve()
            for server in before:
                server.close()

    async def shielded(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs to its end even when the session that asked for it is gone."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    def stop_listening(self) -> None:
        """The addresses are free at once; open sessions go on."""
        for server in self._servers:
            server.close()
        for item in self._sockets:
            item.close()
        self._servers, self._sockets = [], []

    async def close(self, deadline: float) -> None:
        """No new connections; idle sessions hear 421; what was received is finished, at most until `deadline` seconds are over."""
        self.stopping = True
        self.stop_listening()
        for session in list(self.sessions):
            session.stop()
        pending = {*self._running, *(session.task for session in self.sessions)}
        if pending:
            _, pending = await asyncio.wait(pending, timeout=deadline)
        if pending:
            log.warning("sessions were cut off at the deadline", extra={"fields": {"listener": self.settings.name, "count": len(pending)}})
        for session in list(self.sessions):
            session.abort()


class Listeners:
    """All listeners of the settings; their sockets are bound here, unless a parent has done so."""

    def __init__(self, settings: Settings, intake: Intake, counts: Counts | None = None, inherited: Inherited | None = None) -> None:
        self._intake = intake
        self._inherited = inherited
        self.counts = counts or Counts()
        self._hostname = settings.hostname
        self.groups = {item.name: self._group(item) for item in settings.listeners}
        self._closing: set[asyncio.Task[None]] = set()

    def _group(self, item: Listener) -> ListenerGroup:
        return ListenerGroup(self._hostname, item, self._intake, self.counts, self._inherited)

    async def start(self) -> list[tuple[str, str, int]]:
        """Name, address and port of every socket. Raises ConfigurationError."""
        for group in self.groups.values():
            await group.start()
        return [(name, host, port) for name, group in self.groups.items() for host, port in group.bound]

    @property
    def open(self) -> int:
        """Connections of all listeners."""
        return sum(group.limits.open for group in self.groups.values())

    async def reload(self, settings: Settings) -> None:
        """New listeners open, gone ones stop listening and finish their sessions by themselves, the others take over their new limits and
        certificates. Raises ConfigurationError: for a certificate or an address that can't be had nothing has changed; an address that
        passes from one listener to another is tried last."""
        wanted = {item.name: item for item in settings.listeners}
        for item in wanted.values():
            if item.tls:
                ServerTls(item.tls)
        kept = {name for name, item in wanted.items() if name in self.groups and _shape(self.groups[name].settings) == _shape(item)}
        gone = [group for name, group in self.groups.items() if name not in kept]
        in_use = {f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for group in gone for host, port in group.bound}
        fresh = [self._group(item) for name, item in wanted.items() if name not in kept]
        handed_over = [group for group in fresh if in_use.intersection(group.settings.addresses)]
        await _start_all([group for group in fresh if group not in handed_over])
        for name in kept:
            await self.groups[name].apply(wanted[name])
        for group in gone:
            del self.groups[group.settings.name]
            self._finish(group)
        self.groups.update({group.settings.name: group for group in fresh if group not in handed_over})
        if handed_over:
            await asyncio.sleep(0)  # a closed socket is given back by the loop in its next turn
            for group in handed_over:
                await group.start()
                self.groups[group.settings.name] = group

    def _finish(self, group: ListenerGroup) -> None:
        """In the background: a long session must not hold up the reload."""
        group.stop_listening()
        task = asyncio.get_running_loop().create_task(group.close(group.settings.session_timeout))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self, deadline: float = 30) -> None:
        """Stops gracefully."""
        closing = [asyncio.get_running_loop().create_task(group.close(deadline)) for group in self.groups.values()]
        if closing or self._closing:
            await asyncio.wait([*closing, *self._closing], timeout=deadline + 1)


async def _start_all(groups: list[ListenerGroup]) -> None:
    """All or none. Raises ConfigurationError."""
    started: list[ListenerGroup] = []
    try:
        for group in groups:
            await group.start()
            started.append(group)
    except ConfigurationError:
        for group in started:
            group.stop_listening()
        raise


def _shape(item: Listener) -> tuple[Any, ...]:
    """What can't change under a socket or a session."""
    return item.addresses, item.side, item.protocol, item.implicit_tls
