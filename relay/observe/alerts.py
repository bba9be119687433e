"""Alerts: what a person must know of. One log line each, at level error, and a counter for each name that an alert rule can watch."""

import logging
from collections import Counter
from typing import Any

log = logging.getLogger("sluis.alert")


class Alerts:
    """`counts` is by name, since the start."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, name: str, **fields: Any) -> None:
        """`name` is stable and in kebab-case: `no-rule`, `no-route`, `several-routes`, `balance`, `reload-refused`, `policy-refused`,
        `policy-not-approved`, `policy-unavailable`, `clock`, `process-died`, `process-silent`."""
        self.counts[name] += 1
        log.error("alert", extra={"fields": {"alert": name, **fields}})
