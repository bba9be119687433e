"""Gets to a next hop: hosts in order, an idle connection or a new one, and a rest for destinations that are down."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from relay.deliver.answer import Answer, HopFailed, Lost, Stale, found
from relay.deliver.connection import Approach, Connection, Host, connect
from relay.deliver.destinations import Destinations, Ourselves
from relay.deliver.login import read_login
from relay.deliver.pool import Pool
from relay.deliver.tls import ClientContexts
from relay.model.address import domain_key
from relay.model.errors import ConfigurationError
from relay.model.ports import Resolver
from relay.policy.models import Route, TlsLevel
from relay.settings.models import Settings

log = logging.getLogger("sluis.deliver")

DOWN = 60.0  # seconds that a destination none of whose hosts answered is left alone, so that it does not hold up all others
DOWN_ENTRIES = 10_000
Result = TypeVar("Result")


class Reach:
    """Owns the open connections. Use from one event loop."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        self._settings = settings
        self._hostname = settings.delivery.hostname or settings.hostname
        names = frozenset(domain_key(name) for name in (settings.hostname, self._hostname))
        sockets = frozenset(address for listener in settings.listeners for address in listener.addresses)
        self._destinations = Destinations(resolver, Ourselves(names, sockets))
        self._contexts = ClientContexts()
        self._pool = Pool()
        self._down_seconds = min(DOWN, settings.delivery.schedule[0] / 2)
        self._down: dict[tuple[str, TlsLevel, str], tuple[float, Answer]] = {}  # a rule may ask for more TLS than the route

    async def at_first_host(
        self, route: Route, domain: str, transact: Callable[[Connection], Awaitable[Result]]
    ) -> tuple[Result, Connection]:
        """Runs `transact` on the first host that can be talked to; a Lost from it counts as one more host that failed. Waits for one of
        the route's places at the destination. Raises HopFailed with the last host's answer."""
        async with self._pool.place((route.name, domain), route.connections):
            self._check_down(route, domain)
            hosts = await self._destinations.hosts(route, domain)
            try:
                approach = self._approach(route)
            except ConfigurationError as error:  # a mistake of an admin: staff hear of it, the mail waits
                log.error("route can't be used", extra={"fields": {"route": route.name, "problem": str(error)}})
                raise HopFailed(found("4.3.5", f"the route {route.name} can't be used as it is configured")) from error
            return await self._first(route, domain, hosts, approach, transact)

    def end_rests(self) -> None:
        """Staff want it tried now."""
        self._down.clear()

    async def close(self) -> None:
        """Ends the idle connections."""
        await self._pool.close()

    async def _first(
        self, route: Route, domain: str, hosts: list[Host], approach: Approach, transact: Callable[[Connection], Awaitable[Result]]
    ) -> tuple[Result, Connection]:
        failure, connected = HopFailed(found("4.4.1", "no host could be tried")), False
        for host in hosts:
            while True:
                try:
                    connection = self._pool.take((route, host)) or await connect(host, approach)
                except HopFailed as error:
                    failure = error
                    break
                connected = True
                try:
                    return await self._used(route, connection, transact)
                except Stale:
                    continue
                except Lost as error:
                    failure = HopFailed(found("4.4.2", f"{host}: {error}"))
                    break
        if not connected:
            self._remember_down(route, domain, failure.answer)
        raise failure

    async def _used(
        self, route: Route, connection: Connection, transact: Callable[[Connection], Awaitable[Result]]
    ) -> tuple[Result, Connection]:
        try:
            result = await transact(connection)
        except BaseException:
            connection.channel.abort()
            raise
        self._pool.give((route, connection.host), connection)
        return result, connection

    def _approach(self, route: Route) -> Approach:
        """Raises ConfigurationError."""
        level = route.tls
        return Approach(
            hostname=self._hostname,
            level=level,
            context=None if level is TlsLevel.NONE else self._contexts.context(level, route.ca_file),
            login=read_login(self._settings.secrets, route.login) if route.login else None,
            lmtp=route.lmtp,
            connect_timeout=self._settings.delivery.connect_timeout,
            command_timeout=self._settings.delivery.command_timeout,
        )

    def _check_down(self, route: Route, domain: str) -> None:
        until, answer = self._down.get((route.name, route.tls, domain), (0.0, None))
        rest = until - time.monotonic()
        if answer is not None and rest > 0:
            raise HopFailed(Answer(answer.code, answer.status, f"{answer.text} (not tried again yet)", rest=rest))
        self._down.pop((route.name, route.tls, domain), None)

    def _remember_down(self, route: Route, domain: str, answer: Answer) -> None:
        if len(self._down) >= DOWN_ENTRIES:
            del self._down[next(iter(self._down))]
        self._down[route.name, route.tls, domain] = (time.monotonic() + self._down_seconds, answer)
