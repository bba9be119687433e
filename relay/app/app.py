"""Builds the road from its settings, starts it in an order in which nothing is promised too early, and stops it without losing anything."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Mapping
from enum import StrEnum

from relay.admission import Admission
from relay.app.background import Background
from relay.app.clock_watch import ClockWatch
from relay.app.correspondence import RecordedCorrespondence
from relay.app.custody import Custody
from relay.app.descriptors import make_room
from relay.app.dispatcher import Dispatcher
from relay.app.folder_watch import FolderWatch
from relay.app.high_water_watch import HighWaterWatch
from relay.app.in_force import InForce
from relay.app.intake import RoadIntake
from relay.app.jobs import Jobs
from relay.app.notices import Notices
from relay.app.overload import Overload
from relay.app.part import Part
from relay.app.policy_source import Source
from relay.app.resolver import DnsResolver
from relay.app.rule_notices import RuleNotices
from relay.authenticate.authenticator import DnsAuthenticator
from relay.control.operation import Operation, Services
from relay.control.server import ControlServer
from relay.deliver.deliverer import Deliverer
from relay.inspect.pool import InspectJob, InspectPool
from relay.listen.server import Counts, Listeners
from relay.listen.sockets import Inherited
from relay.model.errors import ConfigurationError
from relay.model.features import Inspection
from relay.model.message import Body
from relay.model.ports import SystemClock
from relay.observe.alerts import Alerts
from relay.observe.http import HttpServer
from relay.observe.metrics import Metrics
from relay.observe.observed import Observed
from relay.policy.models import Policy
from relay.receive.rates import DAY_US, Rates
from relay.receive.verification import RecipientVerifier
from relay.record import Record
from relay.road import Road
from relay.settings.models import Settings
from relay.sign.body_hash import RelaxedBodyHash
from relay.sign.signer import Signer
from relay.store import queue, schema
from relay.store.counters import Counters
from relay.store.durability import check_standby, doubts
from relay.store.engine import WriterLock, check_durability, open_engine, sqlite_path
from relay.store.high_water import marks_of
from relay.store.journal import Journal
from relay.store.logins import Logins
from relay.store.reader import Reader
from relay.store.spool import open_spool

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
        self._open_store()
        # What only accepts holds no key that could read a body back.
        spool = settings.spool if self._delivers else settings.spool.model_copy(update={"private_keys": None})
        self.spool = open_spool(spool, RelaxedBodyHash, on_fatal=self._on_fatal)
        stack.callback(self.spool.close)
        await asyncio.to_thread(self.spool.check)
        source = Source(settings, applies=self._delivers)
        self.folder_watch: FolderWatch | None = None
        self.in_force = InForce(source, self.journal, self.reader, self.clock, self.alerts, self._owner)
        self.high_water: HighWaterWatch | None = None
        if self._delivers:
            await self._look_at_high_water()
        if source.watched:
            self.folder_watch = FolderWatch(source.folder, self.in_force, self.alerts, self._say)
        await self.in_force.start()
        self.clock_watch = ClockWatch(
            self.reader, self.clock, self.alerts, settings.delivery.lease, shared=sqlite_path(settings.store) is None
        )
        await self.clock_watch.look()
        self.pool = InspectPool(settings, WORKER)
        stack.push_async_callback(self.pool.close)
        await self.pool.start()
        self._build_road()
        await self._say("start", "started", self.in_force.unavailable() or f"epoch {self.in_force.current()[1]}")
        stack.push_async_callback(self._say_stopped)
        services = Services(settings, self.journal, self.reader, self.spool, self.clock, self.in_force.current, self._changed_by_hand)
        http = HttpServer(settings.http, self.metrics, self._part.http_path if self._part else None)
        await http.start()
        stack.push_async_callback(http.close)
        bound = [("http", "", http.port)] if settings.http.address and self._part is None else []
        if self._delivers:
            control = ControlServer(settings.control, self._operations, services)
            await control.start()
            stack.push_async_callback(control.close)
            self.in_force.on_change = self._epoch_changed
            self.background.recall.begin()  # a policy that changed while the relay was down
            self.dispatcher.start()
            self.record.first_claims = self.dispatcher
            stack.push_async_callback(self.dispatcher.stop, STOP_SECONDS)
        if self._listens:
            stack.push_async_callback(self.listeners.close, STOP_SECONDS)
            bound += await self.listeners.start()
        stack.callback(self.background.stop)
        self.background.start(self.high_water, self.folder_watch)
        told = "started" if self._part is None else "process started"  # the parent says when all have
        log.info(told, extra={"fields": {"sockets": [f"{name} {host}:{port}" for name, host, port in bound]}})
        return bound

    async def _look_at_high_water(self) -> None:
        """A store that went back in time gets the brake before anything of it is looked at."""
        marks = marks_of(self.settings.spool)
        self.high_water = HighWaterWatch(
            marks, self.journal, self.reader, self.clock, self.alerts, socket.gethostname(), self._owner, self.settings.store.standby
        )
        await self.high_water.begin()
        self.high_water.pulled = self.in_force.refresh
        self.high_water.watch_connections(self.engine)
        self._stack.push_async_callback(self.high_water.tick)  # the last mark, after the last event

    async def _say_stopped(self) -> None:
        await self.counters.give_back()
        await self.jobs.release()
        await self.counters.flush(self.clock.now_us() - 2 * DAY_US)
        await self.record.adoption.flush()
        await self._say("stop", "stopped", "stopped")

    def _open_store(self) -> None:
        database = sqlite_path(self.settings.store)
        if database is not None:
            lock = WriterLock(database)
            lock.acquire()
            self._stack.callback(lock.release)
        self.engine = open_engine(self.settings.store)
        self._stack.callback(self.engine.dispose)
        schema.check_schema(self.engine)
        check_durability(self.engine)
        check_standby(self.engine, self.settings.store.standby)
        with self.engine.connect() as connection:
            for doubt in doubts(connection, self.settings.store.standby):
                log.warning("a failover would lose mail", extra={"fields": {"reason": doubt}})
        self.journal = Journal(self.engine, self.settings.store.batch_messages, self._on_fatal, self.settings.store.gather)
        self.journal.start()
        self._stack.callback(self.journal.close)
        self.reader = Reader(self.engine)
        self._stack.callback(self.reader.close)
        if database is not None:
            self.journal.submit_now(queue.end_leases)

    def _build_road(self) -> None:
        settings = self.settings
        delivery = settings.delivery
        hostname = delivery.hostname or settings.hostname
        self.record = Record(
            self.journal, self.spool, self.clock, settings.hostname, int(delivery.expiry * 1e6), int(delivery.schedule[0] * 1e6)
        )
        resolver = DnsResolver(delivery.resolver)
        self.deliverer = Deliverer(settings, resolver)
        self._stack.push_async_callback(self.deliverer.close)
        observed = Observed()
        correspondence = RecordedCorrespondence(self.journal, self.reader)
        self.road = Road(
            self.in_force,
            self._inspect,
            self.record,
            self.alerts,
            self.clock,
            delivery.max_received,
            observed,
            correspondence,
            DnsAuthenticator(resolver),
        )
        self.counters = Counters(self.journal)
        admission = Admission(
            self.in_force,
            Rates(self.counters, self.clock),
            RecipientVerifier(self.deliverer.probe, self.clock),
            self.record,
            Logins(settings.logins).verify,
            self.spool.full,
            self.clock,
        )
        overload = Overload(self.pool, self.journal, settings, self.alerts)
        self.intake = RoadIntake(admission, self.road, self.spool, self.record.adoption, overload, settings.hostname)
        notices = Notices(self.intake, self.in_force, self.spool, self.clock, hostname)
        signer = Signer(settings.dkim_keys)
        custody = Custody(self.in_force, self.road, signer, self.deliverer, self.record, self.spool, notices, self.clock, settings)
        self.dispatcher = Dispatcher(custody, self.journal, self.reader, self.clock, delivery, self._owner, self._braked, self.alerts)
        alone = sqlite_path(settings.store) is not None
        self.jobs = Jobs(self.journal, self.clock, self._owner, alone=alone, wrong=lambda: self.clock_watch.wrong)
        self.background = Background(
            settings,
            self.in_force,
            self.journal,
            self.reader,
            self.spool,
            self.counters,
            self.record.adoption,
            self.clock,
            self.alerts,
            self._owner,
            self._wake,
            self.jobs,
            self.clock_watch,
            RuleNotices(
                self.intake,
                self.in_force,
                self.journal,
                self.reader,
                self.clock,
                self.jobs,
                self.counters,
                settings.policy.notices_per_hour,
                hostname,
                self._owner,
            ),
        )
        inherited = Inherited(self._part.sockets) if self._part else None
        # What only delivers needs no TLS key, and need not be able to read one.
        listening = settings if self._listens else settings.model_copy(update={"listeners": ()})
        self.listeners = Listeners(listening, self.intake, Counts(shed=overload.counts), inherited)
        self.metrics = Metrics(
            self.reader,
            self.listeners,
            self.pool,
            self.journal,
            self.spool,
            self.in_force.current,
            settings,
            self.alerts,
            self.clock,
            lambda: self.background.balance_watch.recounted,
            observed,
        )

    def _braked(self) -> bool:
        return self.in_force.stopped() or self.clock_watch.wrong or (self.high_water is not None and self.high_water.suspect)

    def _wake(self) -> None:
        self.dispatcher.wake()  # without a dispatcher here, the one that delivers polls

    async def _inspect(self, body: Body, policy: Policy, authenticate: bool) -> Inspection:
        """read and inspect, in a worker: the bytes while they are in memory, else the file and the key of this one body."""
        authserv_id, body_hash = policy.organisation.authserv_id, body.body_hash if authenticate else ""
        if body.bytes is not None:
            return await self.pool.inspect(InspectJob(body.object, body.size, authserv_id, body=body.bytes, body_hash=body_hash))
        async with self.spool.local(body) as found:
            job = InspectJob(found.name, body.size, authserv_id, path=found.path, key=found.key, body_hash=body_hash)
            return await self.pool.inspect(job)

    def _on_fatal(self, reason: str) -> None:
        """From the journal's thread: the disk is not to be trusted any more. The process ends without another promise."""
        log.critical("stopping at once", extra={"fields": {"reason": reason}})
        os.kill(os.getpid(), signal.SIGKILL)

    async def _changed_by_hand(self) -> None:
        """An operation has changed something: the queue, the phase or the brake."""
        await self.in_force.refresh()
        self.deliverer.end_rests()
        self.dispatcher.wake()

    async def _epoch_changed(self) -> None:
        """What was held is decided again, beside the mail; what is queued is when it is claimed."""
        self.background.recall.begin()
        self.dispatcher.wake()

    async def reload(self, read_settings: Callable[[], Settings]) -> None:
        """SIGHUP: policy (where the folder says what is in force), the spool's keys, and listeners with their certificates and limits; the
        rest of the settings needs a restart.
        Raises ConfigurationError, and then the old ones are in force: a policy never without the certificates that came with it. What was
        wrong is told in the audit, too."""
        try:
            settings = await asyncio.to_thread(read_settings)
            make_room(settings)
            candidate = await self.in_force.candidate()
            keys = self.spool.read_keys()
            if self._listens:
                await self.listeners.reload(settings)
            self.spool.keys = keys
            await (self.in_force.put(*candidate) if candidate is not None else self.in_force.refresh())
        except ConfigurationError as error:
            self.alerts("reload-refused", problems=error.problems[:20])
            await self._say("reload", "refused", "; ".join(error.problems)[:1000])
            raise
        await self._say("reload", "done", self.in_force.unavailable() or f"policy {self.in_force.current()[1].policy}")

    async def _say(self, kind: str, result: str, reason: str) -> None:
        await self.record.operation(kind, object_="relay", result=result, origin="process", actor=self._owner, reason=reason)

    async def stop(self) -> None:
        """No new mail, what was received is finished, what is being delivered comes to its end; then the store closes."""
        await self._stack.aclose()
