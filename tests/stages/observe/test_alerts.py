"""Alerts: one line each at level error, and a count by name."""

import logging

import pytest

from relay.observe.alerts import Alerts


def test_an_alert_is_one_line_and_one_count(caplog: pytest.LogCaptureFixture) -> None:
    alerts = Alerts()
    with caplog.at_level(logging.ERROR, "sluis.alert"):
        alerts("no-rule", message="0199")
        alerts("no-rule", message="0200")
        alerts("balance", difference=1)
    assert alerts.counts == {"no-rule": 2, "balance": 1}
    assert [getattr(record, "fields", {}) for record in caplog.records] == [
        {"alert": "no-rule", "message": "0199"},
        {"alert": "no-rule", "message": "0200"},
        {"alert": "balance", "difference": 1},
    ]
    assert {record.levelname for record in caplog.records} == {"ERROR"}
