"""What Prometheus reads: collected when it asks, from counters in memory and a few indexed reads, at most every few seconds."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select
from sqlalchemy import text as sql_text

from relay.inspect.pool import InspectPool
from relay.listen.server import Listeners
from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.model.errors import PolicyUnavailable, SluisError
from relay.model.ids import id_time_us
from relay.model.ports import Clock
from relay.observe.alerts import Alerts
from relay.observe.observed import Observed
from relay.policy.models import Policy
from relay.settings.models import Settings
from relay.store import states
from relay.store.along import along
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.spool.ports import Spool
from relay.store.states import Balance
from relay.store.tables import Delivery

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
CACHE_SECONDS = 5.0
SECOND = 1_000_000


class Metrics(Collector):
    """Names begin with `sluis_`; docs/observing.md lists them, and the shipped alert rules use them. `recount` gives the balance as it was
    when the rows were counted last."""

    def __init__(
        self,
        reader: Reader,
        listeners: Listeners,
        pool: InspectPool,
        journal: Journal,
        spool: Spool,
        in_force: Callable[[], tuple[Policy, Epoch]],
        settings: Settings,
        alerts: Alerts,
        clock: Clock,
        recount: Callable[[], Balance | None],
        observed: Observed,
    ) -> None:
        self._reader = reader
        self._listeners = listeners
        self._pool = pool
        self._journal = journal
        self._spool = spool
        self._in_force = in_force
        self._settings = settings
        self._alerts = alerts
        self._clock = clock
        self._recount = recount
        self._observed = observed
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._stored: tuple[float, list[Metric]] = (0.0, [])

    def text(self) -> bytes:
        """The exposition format. Raises StoreError."""
        return generate_latest(self._registry)

    def not_ready(self) -> list[str]:
        """Why the relay should get no mail now; empty when it should."""
        reasons = [f"inspector {name}: {why}" for name, why in self._pool.status().items()]
        try:
            self._in_force()
        except PolicyUnavailable as error:
            reasons.append(str(error))
        if self._spool.full():
            reasons.append("the spool is above its watermark")
        try:
            self._reader.read_now(lambda connection: connection.execute(select(1)).scalar())
        except SluisError as error:
            reasons.append(str(error))
        return reasons

    def describe(self) -> list[Metric]:
        """Nothing is collected when the registry starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        counts = self._listeners.counts
        for name, text, number in (
            ("sessions", "SMTP sessions", counts.sessions),
            ("commands", "SMTP commands", counts.commands),
            ("messages_received", "messages whose last byte came in", counts.messages),
            ("faults", "errors that are bugs", counts.bugs),
            ("inspect_crashes", "inspect workers that died", self._pool.crashes),
            ("inspect_killed", "inspect workers that were killed at their deadline", self._pool.killed),
            ("journal_commits", "durable commits", self._journal.commits),
            ("journal_works", "works in those commits", self._journal.works),
        ):
            yield CounterMetricFamily(f"sluis_{name}", text, value=number)
        refusals = CounterMetricFamily("sluis_refusals", "replies of 4xx and 5xx", labels=["code"])
        for code, number in counts.refusals.items():
            refusals.add_metric([str(code)], number)
        yield refusals
        shed = CounterMetricFamily("sluis_shed", "connections and messages refused because there was too much", labels=["reason"])
        for reason in ("connections", "inspection", "journal"):
            shed.add_metric([reason], counts.shed[reason])
        yield shed
        alerts = CounterMetricFamily("sluis_alerts", "what a person must know of", labels=["alert"])
        for name, number in self._alerts.counts.items():
            alerts.add_metric([name], number)
        yield alerts
        observed = CounterMetricFamily(
            "sluis_observed_matches", "recipients on whom a rule that is only observed would have spoken", labels=["rule", "disposition"]
        )
        for (rule, disposition), number in tuple(self._observed.counts.items()):
            observed.add_metric([rule, disposition], number)
        yield observed
        yield from self._gauges()
        yield from self._from_store()

    def _gauges(self) -> Iterator[Metric]:
        for name, text, value in (
            ("connections_open", "connections of clients that are open", self._listeners.open),
            ("inspect_waiting", "messages that wait for an inspect worker", self._pool.waiting),
            ("inspect_bytes", "octets of large messages that are being inspected", self._pool.in_flight),
            ("journal_waiting", "works that wait for a durable commit", self._journal.waiting),
        ):
            yield GaugeMetricFamily(f"sluis_{name}", text, value=value)
        yield GaugeMetricFamily("sluis_spool_free_bytes", "octets left on the disk of the spool", value=self._spool.free_bytes())
        down = self._pool.status()
        scanners = GaugeMetricFamily("sluis_inspector_up", "1 where an inspector answers", labels=["inspector"])
        for name in ("yara", "type", "archive", *(["clamd"] if self._settings.clamd.socket else [])):
            scanners.add_metric([name], 0 if name in down else 1)
        yield scanners
        expiry = GaugeMetricFamily("sluis_certificate_expiry_seconds", "when a certificate ends, seconds since 1970", labels=["listener"])
        for listener in self._settings.listeners:
            if listener.tls and (end := certificate_end(listener.tls.certificate)):
                expiry.add_metric([listener.name], end)
        yield expiry
        yield from self._epoch()

    def _epoch(self) -> Iterator[Metric]:
        available = GaugeMetricFamily("sluis_policy_available", "1 while this process can work under the policy that is in force")
        try:
            _, epoch = self._in_force()
        except PolicyUnavailable:
            available.add_metric([], 0)
            yield available
            return
        available.add_metric([], 1)
        yield available
        yield GaugeMetricFamily("sluis_brake", "1 while the brake is on", value=int(epoch.brake))
        info = GaugeMetricFamily("sluis_epoch_info", "policy and phase in force", labels=["policy", "phase"])
        info.add_metric([epoch.policy[:16], epoch.phase], 1)
        yield info

    def _from_store(self) -> list[Metric]:
        if time.monotonic() - self._stored[0] > CACHE_SECONDS or not self._stored[1]:
            self._stored = (time.monotonic(), self._reader.read_now(self._read))
        return self._stored[1]

    def _read(self, connection: Connection) -> list[Metric]:
        now_us = self._clock.now_us()
        deliveries = GaugeMetricFamily("sluis_deliveries", "recipients in each state", labels=["state"])
        balance = states.running(connection)
        for state, number in balance.counted.items():
            deliveries.add_metric([state.value], number)
        ages = GaugeMetricFamily("sluis_oldest_seconds", "age of the oldest message that waits in a state", labels=["state"])
        for state in (State.READY, State.UNDECIDED, State.HELD, State.QUARANTINED, State.UNDELIVERABLE):
            # By id, which is its time and has an index; `changed_us` is that of the last attempt.
            oldest = along(connection, DELIVERY.c.state, state.value, DELIVERY.c.message_id)
            first = connection.execute(oldest.limit(1)).scalar()
            ages.add_metric([state.value], (now_us - id_time_us(first)) / SECOND if first else 0)
        doubtful = select(func.coalesce(func.sum(DELIVERY.c.possible_duplicates), 0)).where(sql_text("possible_duplicates > 0"))
        duplicates = connection.execute(doubtful).scalar()
        recount = self._recount()
        if recount is not None and not recount.holds:
            balance = recount
        return [
            deliveries,
            ages,
            GaugeMetricFamily("sluis_possible_duplicates", "attempts that may have sent twice", value=duplicates or 0),
            GaugeMetricFamily(
                "sluis_balance_difference",
                "recipients accepted and not accounted for; anything but 0 is an alarm",
                value=balance.difference,
            ),
            GaugeMetricFamily("sluis_balance_holds", "1 while the balance holds", value=int(balance.holds)),
        ]


def certificate_end(path: Path) -> float | None:
    """Seconds since 1970, or None where the file can't be read."""
    try:
        end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None
    return end.timestamp()
