"""Overload: what could not be answered while the client is still there is refused before its bytes come in, and the client keeps it."""

import logging
import time
from collections import Counter

from relay.inspect.pool import InspectPool
from relay.judge import Alert
from relay.listen import replies
from relay.model.errors import Refusal
from relay.settings.models import Settings
from relay.store.journal import Journal

log = logging.getLogger("sluis.overload")
JOURNAL_COMMITS = 100
"""Commits that may wait: on a disk that takes a third of a second for each, half a minute."""
CALM_SECONDS = 60.0
"""After so long without a refusal the next one is a new overload, and told again."""


class Overload:
    """Asked at MAIL FROM. Nothing has to be reset: what waits becomes less by itself. `counts` is by reason, since the start."""

    def __init__(self, pool: InspectPool, journal: Journal, settings: Settings, alert: Alert) -> None:
        self._pool = pool
        self._journal = journal
        self._settings = settings
        self._alert = alert
        self._last = -CALM_SECONDS
        self.counts: Counter[str] = Counter()

    def check(self) -> None:
        """Raises Refusal. It writes no event: that would be one more commit for each."""
        if self._pool.expected_wait > self._settings.inspection.patience or self._pool.waiting >= self._settings.inspection.queue:
            self._refuse("inspection", waiting=self._pool.waiting)
        if self._journal.waiting > JOURNAL_COMMITS * self._settings.store.batch_messages:
            self._refuse("journal", waiting=self._journal.waiting)

    def _refuse(self, reason: str, waiting: int) -> None:
        now = time.monotonic()
        if now - self._last > CALM_SECONDS:
            self._alert("overload", reason=reason, waiting=waiting)
        self._last = now
        self.counts[reason] += 1
        raise Refusal(replies.BUSY, f"overload: {reason}")
