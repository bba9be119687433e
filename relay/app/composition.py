"""Joins the stages to store, spool, policy and inspect workers that are open already. Nothing is started here, and nothing promised."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from relay.admission import Admission
from relay.app.background import Background
from relay.app.body_inspector import BodyInspector
from relay.app.clock_watch import ClockWatch
from relay.app.correspondence import RecordedCorrespondence
from relay.app.custody import Custody
from relay.app.dispatcher import Dispatcher
from relay.app.in_force import InForce
from relay.app.intake import RoadIntake
from relay.app.jobs import Jobs
from relay.app.notices import Notices
from relay.app.opened_store import OpenedStore
from relay.app.overload import Overload
from relay.app.part import Part
from relay.app.resolver import DnsResolver
from relay.app.rule_notices import RuleNotices
from relay.authenticate.authenticator import DnsAuthenticator
from relay.deliver.deliverer import Deliverer
from relay.inspect.pool import InspectPool
from relay.listen.server import Counts, Listeners
from relay.listen.sockets import Inherited
from relay.model.ports import Clock
from relay.observe.alerts import Alerts
from relay.observe.metrics import Metrics
from relay.observe.observed import Observed
from relay.receive.rates import Rates
from relay.receive.verification import RecipientVerifier
from relay.record import Record
from relay.road import Road
from relay.settings.models import Settings
from relay.sign.signer import Signer
from relay.store.counters import Counters
from relay.store.logins import Logins
from relay.store.spool.ports import Spool


@dataclass(frozen=True, slots=True)
class Opened:
    """What everything else stands on. `owner` names this process in leases and events; `braked` says whether nothing may leave now."""

    settings: Settings
    clock: Clock
    alerts: Alerts
    owner: str
    store: OpenedStore
    spool: Spool
    in_force: InForce
    clock_watch: ClockWatch
    pool: InspectPool
    braked: Callable[[], bool]

    @property
    def hostname(self) -> str:
        """By which next hops know us."""
        return self.settings.delivery.hostname or self.settings.hostname


@dataclass(frozen=True, slots=True)
class Composition:
    """What is started, stopped and asked."""

    record: Record
    deliverer: Deliverer
    counters: Counters
    dispatcher: Dispatcher
    jobs: Jobs
    background: Background
    listeners: Listeners
    metrics: Metrics


def compose(opened: Opened, stack: AsyncExitStack, *, listens: bool, part: Part | None) -> Composition:
    """In the order in which one needs another. `stack` closes the connections to next hops. Raises ConfigurationError where certificates
    can't be read, or no name server is known."""
    settings, store = opened.settings, opened.store
    record = _record(opened)
    resolver = DnsResolver(settings.delivery.resolver)
    deliverer = Deliverer(settings, resolver)
    stack.push_async_callback(deliverer.close)
    observed = Observed()
    road = _road(opened, record, resolver, observed)
    counters = Counters(store.journal)
    admission = _admission(opened, record, deliverer, counters)
    overload = Overload(opened.pool, store.journal, settings, opened.alerts)
    intake = RoadIntake(admission, road, opened.spool, record.adoption, overload, settings.hostname)
    dispatcher = _dispatcher(opened, record, deliverer, road, intake)
    jobs = Jobs(store.journal, opened.clock, opened.owner, alone=store.alone, wrong=lambda: opened.clock_watch.wrong)
    background = _background(opened, record, counters, intake, dispatcher, jobs)
    # What only delivers needs no TLS key, and need not be able to read one.
    listening = settings if listens else settings.model_copy(update={"listeners": ()})
    listeners = Listeners(listening, intake, Counts(shed=overload.counts), Inherited(part.sockets) if part else None)
    metrics = _metrics(opened, listeners, background, observed)
    return Composition(record, deliverer, counters, dispatcher, jobs, background, listeners, metrics)


def _record(opened: Opened) -> Record:
    delivery = opened.settings.delivery
    expiry_us, retry_us = int(delivery.expiry * 1e6), int(delivery.schedule[0] * 1e6)
    return Record(opened.store.journal, opened.spool, opened.clock, opened.settings.hostname, expiry_us, retry_us)


def _road(opened: Opened, record: Record, resolver: DnsResolver, observed: Observed) -> Road:
    return Road(
        opened.in_force,
        BodyInspector(opened.pool, opened.spool),
        record,
        opened.alerts,
        opened.clock,
        opened.settings.delivery.max_received,
        observed,
        RecordedCorrespondence(opened.store.journal, opened.store.reader),
        DnsAuthenticator(resolver),
    )


def _admission(opened: Opened, record: Record, deliverer: Deliverer, counters: Counters) -> Admission:
    return Admission(
        opened.in_force,
        Rates(counters, opened.clock),
        RecipientVerifier(deliverer.probe, opened.clock),
        record,
        Logins(opened.settings.logins).verify,
        opened.spool.full,
        opened.clock,
    )


def _dispatcher(opened: Opened, record: Record, deliverer: Deliverer, road: Road, intake: RoadIntake) -> Dispatcher:
    """With the second half of the road, which brings on what the queue holds."""
    settings, store, in_force, spool, clock = opened.settings, opened.store, opened.in_force, opened.spool, opened.clock
    notices = Notices(intake, in_force, spool, clock, opened.hostname)
    custody = Custody(in_force, road, Signer(settings.dkim_keys), deliverer, record, spool, notices, clock, settings)
    return Dispatcher(custody, store.journal, store.reader, clock, settings.delivery, opened.owner, opened.braked, opened.alerts)


def _background(opened: Opened, record: Record, counters: Counters, intake: RoadIntake, dispatcher: Dispatcher, jobs: Jobs) -> Background:
    rule_notices = RuleNotices(
        intake,
        opened.in_force,
        opened.store.journal,
        opened.store.reader,
        opened.clock,
        jobs,
        counters,
        opened.settings.policy.notices_per_hour,
        opened.hostname,
        opened.owner,
    )
    return Background(
        opened.settings,
        opened.in_force,
        opened.store.journal,
        opened.store.reader,
        opened.spool,
        counters,
        record.adoption,
        opened.clock,
        opened.alerts,
        opened.owner,
        dispatcher.wake,  # one that is not started wakes nobody: the process that delivers polls
        jobs,
        opened.clock_watch,
        rule_notices,
    )


def _metrics(opened: Opened, listeners: Listeners, background: Background, observed: Observed) -> Metrics:
    return Metrics(
        opened.store.reader,
        listeners,
        opened.pool,
        opened.store.journal,
        opened.spool,
        opened.in_force.current,
        opened.settings,
        opened.alerts,
        opened.clock,
        lambda: background.balance_watch.recounted,
        observed,
    )
