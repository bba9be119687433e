"""The listening sockets, and the work that outlives a session: what was received is brought to its end."""

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from relay.listen.intake import Intake
from relay.listen.limits import ConnectionLimits
from relay.listen.session import Session
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


class ListenerGroup:
    """One listener of the settings: its sockets and sessions."""

    def __init__(self, hostname: str, settings: Listener, intake: Intake, counts: Counts) -> None:
        self.hostname = hostname
        self.settings = settings
        self.intake = intake
        self.counts = counts
        self.limits = ConnectionLimits(settings)
        self.tls = ServerTls(settings.tls) if settings.tls else None
        self.sessions: set[Session] = set()
        self.stopping = False
        self.servers: list[asyncio.Server] = []
        self._running: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Binds every address. Raises ConfigurationError that names the one that can't be had."""
        loop = asyncio.get_running_loop()
        for text in self.settings.addresses:
            host, _, port = text.rpartition(":")
            try:
                server = await loop.create_server(
                    lambda: Session(self, loop), host.strip("[]"), int(port), backlog=512, ssl=self._implicit_context
                )
            except OSError as error:
                raise ConfigurationError([f"listener {self.settings.name}: can't listen on {text}: {error.strerror}"]) from None
            self.servers.append(server)

    @property
    def _implicit_context(self) -> ssl.SSLContext | None:
        return self.tls.context if self.tls and self.settings.implicit_tls else None

    @property
    def bound(self) -> list[tuple[str, int]]:
        """Addresses and ports, as they are: port 0 has become a real one."""
        return [socket.getsockname()[:2] for server in self.servers for socket in server.sockets]

    def apply(self, settings: Listener) -> None:
        """Limits and certificates, without closing anything. Raises ConfigurationError, and then nothing has changed."""
        if settings.tls:
            if self.tls:
                self.tls.reload(settings.tls)
            else:
                self.tls = ServerTls(settings.tls)
        else:
            self.tls = None
        self.settings = settings
        self.limits.settings = settings

    async def shielded(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs to its end even when the session that asked for it is gone."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def close(self, deadline: float) -> None:
        """No new connections; idle sessions hear 421; what was received is finished, at most until `deadline` seconds are over."""
        self.stopping = True
        for server in self.servers:
            server.close()
        for session in list(self.sessions):
            session.stop()
        running = set(self._running)
        if running:
            await asyncio.wait(running, timeout=deadline)
        async with asyncio.timeout(deadline):
            while any(session.transaction is not None or not session.idle for session in self.sessions):
                await asyncio.sleep(0.02)
                for session in list(self.sessions):
                    session.stop()
        for session in list(self.sessions):
            session.close()


class Listeners:
    """All listeners of the settings."""

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._intake = intake
        self.counts = Counts()
        self._hostname = settings.hostname
        self.groups = {item.name: ListenerGroup(settings.hostname, item, intake, self.counts) for item in settings.listeners}

    async def start(self) -> list[tuple[str, str, int]]:
        """Name, address and port of every socket."""
        for group in self.groups.values():
            await group.start()
        return [(name, host, port) for name, group in self.groups.items() for host, port in group.bound]

    async def reload(self, settings: Settings) -> None:
        """New listeners open, gone ones close, the others take over their new limits and certificates. Raises ConfigurationError
        before anything is changed
        where a certificate can't be read."""
        wanted = {item.name: item for item in settings.listeners}
        fresh = [
            ListenerGroup(self._hostname, item, self._intake, self.counts)
            for name, item in wanted.items()
            if name not in self.groups or self.groups[name].settings.addresses != item.addresses
        ]
        for name, group in list(self.groups.items()):
            if name in wanted and group.settings.addresses == wanted[name].addresses:
                group.apply(wanted[name])
            else:
                del self.groups[name]
                await group.close(30)
        for group in fresh:
            await group.start()
            self.groups[group.settings.name] = group

    async def close(self, deadline: float = 30) -> None:
        """Stops gracefully."""
        await asyncio.gather(*(group.close(deadline) for group in self.groups.values()), return_exceptions=True)
