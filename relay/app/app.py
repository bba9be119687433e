"""Opens, joins and starts one process in an order in which nothing is promised too early, and stops it without losing anything."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Mapping
from enum import StrEnum

from relay.app.clock_watch import ClockWatch
from relay.app.composition import Composition, Opened, compose
from relay.app.descriptors import make_room
from relay.app.folder_watch import FolderWatch
from relay.app.high_water_watch import HighWaterWatch
from relay.app.in_force import InForce
from relay.app.opened_store import open_store
from relay.app.part import Part
from relay.app.policy_source import Source
from relay.app.reload import reload_from
from relay.control.operation import Operation, Services
from relay.control.server import ControlServer
from relay.inspect.pool import InspectPool
from relay.model.errors import ConfigurationError
from relay.model.ports import SystemClock
from relay.observe.alerts import Alerts
from relay.observe.http import HttpServer
from relay.receive.rates import DAY_US
from relay.settings.models import Settings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.engine import sqlite_path
from relay.store.high_water import marks_of
from relay.store.spool.open import open_spool

log = logging.getLogger("sluis.app")
WORKER = "relay.app.inspect_worker"
STOP_SECONDS = 30.0


class Role(StrEnum):
    """What this process does of the whole. On SQLite it is always all of it: one process owns the store."""

    ALL = "all"
    LISTEN = "listen"  # accepts, inspects, decides, records; needs the spool's public key only
    DELIVER = "deliver"  # the queue, the control socket, the sweeps


class App:
    """One process; `part` is what it has of a parent. `operations` are what people may do over the control socket."""

    def __init__(self, settings: Settings, operations: Mapping[str, Operation], role: Role = Role.ALL, part: Part | None = None) -> None:
        self.settings = settings
        self._part = part
        self.clock = SystemClock()
        self.alerts = Alerts()
        self._listens = role is not Role.DELIVER
        self._delivers = role is not Role.LISTEN
        if role is not Role.ALL and sqlite_path(settings.store) is not None:
            raise ConfigurationError([f"--role {role.value}: on SQLite one process does everything; separate roles need PostgreSQL"])
        # In leases and events. Containers may share a host name, and a process id with it.
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._operations = operations
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> list[tuple[str, str, int]]:
        """Gives name, address and port of each socket. Raises StoreError, ConfigurationError, WorkerFailed; what was started is
        stopped then.
        """
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> list[tuple[str, str, int]]:
        settings, stack = self.settings, self._stack
        make_room(settings)
        self.store = open_store(settings.store, stack, self._on_fatal)
        await self._open_spool()
        await self._put_policy_in_force()
        self.clock_watch = ClockWatch(self.store.reader, self.clock, self.alerts, settings.delivery.lease, shared=not self.store.alone)
        await self.clock_watch.look()
        self.pool = InspectPool(settings, WORKER)
        stack.push_async_callback(self.pool.close)
        await self.pool.start()
        self.composed = self._compose()
        await self._say("start", "started", self.in_force.unavailable() or f"epoch {self.in_force.current()[1]}")
        stack.push_async_callback(self._say_stopped)
        bound = await self._show_metrics()
        if self._delivers:
            await self._start_delivering()
        if self._listens:
            stack.push_async_callback(self.composed.listeners.close, STOP_SECONDS)
            bound += await self.composed.listeners.start()
        stack.callback(self.composed.background.stop)
        self.composed.background.start(self.high_water, self.folder_watch)
        told = "started" if self._part is None else "process started"  # the parent says when all have
        log.info(told, extra={"fields": {"sockets": [f"{name} {host}:{port}" for name, host, port in bound]}})
        return bound

    async def _open_spool(self) -> None:
        """What only accepts holds no key that could read a body back."""
        spool = self.settings.spool if self._delivers else self.settings.spool.model_copy(update={"private_keys": None})
        self.spool = open_spool(spool, RelaxedBodyHash, on_fatal=self._on_fatal)
        self._stack.callback(self.spool.close)
        await asyncio.to_thread(self.spool.check)

    async def _put_policy_in_force(self) -> None:
        source = Source(self.settings, applies=self._delivers)
        self.in_force = InForce(source, self.store.journal, self.store.reader, self.clock, self.alerts, self._owner)
        self.high_water = await self._look_at_high_water() if self._delivers else None
        self.folder_watch = FolderWatch(source.folder, self.in_force, self.alerts, self._say) if source.watched else None
        await self.in_force.start()

    async def _look_at_high_water(self) -> HighWaterWatch:
        """A store that went back in time gets the brake before anything of it is looked at."""
        store, standby = self.store, self.settings.store.standby
        marks, machine = marks_of(self.settings.spool), socket.gethostname()
        high_water = HighWaterWatch(marks, store.journal, store.reader, self.clock, self.alerts, machine, self._owner, standby)
        await high_water.begin()
        high_water.pulled = self.in_force.refresh
        high_water.watch_connections(store.engine)
        self._stack.push_async_callback(high_water.tick)  # the last mark, after the last event
        return high_water

    def _compose(self) -> Composition:
        opened = Opened(
            settings=self.settings,
            clock=self.clock,
            alerts=self.alerts,
            owner=self._owner,
            store=self.store,
            spool=self.spool,
            in_force=self.in_force,
            clock_watch=self.clock_watch,
            pool=self.pool,
            braked=self._braked,
        )
        return compose(opened, self._stack, listens=self._listens, part=self._part)

    async def _show_metrics(self) -> list[tuple[str, str, int]]:
        """Gives the socket, where it is not the parent's."""
        settings = self.settings.http
        http = HttpServer(settings, self.composed.metrics, self._part.http_path if self._part else None)
        await http.start()
        self._stack.push_async_callback(http.close)
        return [("http", "", http.port)] if settings.address and self._part is None else []

    async def _start_delivering(self) -> None:
        """The control socket, what was held, the queue; from then on what is accepted here may be claimed in the same commit."""
        store, composed = self.store, self.composed
        services = Services(
            self.settings, store.journal, store.reader, self.spool, self.clock, self.in_force.current, self._changed_by_hand
        )
        control = ControlServer(self.settings.control, self._operations, services)
        await control.start()
        self._stack.push_async_callback(control.close)
        self.in_force.on_change = self._epoch_changed
        composed.background.recall.begin()  # a policy that changed while the relay was down
        composed.dispatcher.start()
        composed.record.first_claims = composed.dispatcher
        self._stack.push_async_callback(composed.dispatcher.stop, STOP_SECONDS)

    async def _say_stopped(self) -> None:
        counters = self.composed.counters
        await counters.give_back()
        await self.composed.jobs.release()
        await counters.flush(self.clock.now_us() - 2 * DAY_US)
        await self.composed.record.adoption.flush()
        await self._say("stop", "stopped", "stopped")

    def _braked(self) -> bool:
        return self.in_force.stopped() or self.clock_watch.wrong or (self.high_water is not None and self.high_water.suspect)

    def _on_fatal(self, reason: str) -> None:
        """From the journal's thread: the disk is not to be trusted any more. The process ends without another promise."""
        log.critical("stopping at once", extra={"fields": {"reason": reason}})
        os.kill(os.getpid(), signal.SIGKILL)

    async def _changed_by_hand(self) -> None:
        """An operation has changed something: the queue, the phase or the brake."""
        await self.in_force.refresh()
        self.composed.deliverer.end_rests()
        self.composed.dispatcher.wake()

    async def _epoch_changed(self) -> None:
        """What was held is decided again, beside the mail; what is queued is when it is claimed."""
        self.composed.background.recall.begin()
        self.composed.dispatcher.wake()

    async def reload(self, read_settings: Callable[[], Settings]) -> None:
        """SIGHUP. Raises ConfigurationError, and then the old ones are in force."""
        listeners = self.composed.listeners if self._listens else None
        await reload_from(read_settings, self.in_force, self.spool, listeners, self.alerts, self._say)

    async def _say(self, kind: str, result: str, reason: str) -> None:
        await self.composed.record.operation(kind, object_="relay", result=result, origin="process", actor=self._owner, reason=reason)

    async def stop(self) -> None:
        """No new mail, what was received is finished, what is being delivered comes to its end; then the store closes."""
        await self._stack.aclose()
