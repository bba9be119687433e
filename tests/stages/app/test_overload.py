"""Overload is told at MAIL FROM, once in the alerts, and ends by itself."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from relay.app.overload import JOURNAL_COMMITS, Overload
from relay.model.errors import Refusal
from relay.settings.models import Settings

SETTINGS = Settings(hostname="relay.example.nl")
COMMITS = JOURNAL_COMMITS * SETTINGS.store.batch_messages


def overload(**state: Any) -> tuple[Overload, SimpleNamespace, SimpleNamespace, list[str]]:
    """One over a pool and a journal that are as `state` says, and the alerts that it raised."""
    pool = SimpleNamespace(**{"waiting": 0, "expected_wait": 0.0, **state})
    journal = SimpleNamespace(waiting=0)
    alerts: list[str] = []
    made = Overload(cast(Any, pool), cast(Any, journal), SETTINGS, lambda name, **fields: alerts.append(f"{name} {fields['reason']}"))
    return made, pool, journal, alerts


def test_an_idle_relay_takes_mail() -> None:
    overload()[0].check()


@pytest.mark.parametrize(
    "state", [{"waiting": SETTINGS.inspection.queue}, {"waiting": 3, "expected_wait": SETTINGS.inspection.patience + 1}]
)
def test_what_could_not_be_inspected_in_time_is_refused_until_less_waits(state: dict[str, Any]) -> None:
    made, pool, _, alerts = overload(**state)
    for _ in range(3):
        with pytest.raises(Refusal) as refused:
            made.check()
        assert str(refused.value.reply).startswith("451 4.3.2 ")
    assert (alerts, made.counts) == (["overload inspection"], {"inspection": 3})
    pool.waiting, pool.expected_wait = 0, 0.0
    made.check()


def test_what_could_not_be_recorded_in_time_is_refused_until_less_waits() -> None:
    made, _, journal, alerts = overload()
    journal.waiting = COMMITS + 1
    with pytest.raises(Refusal):
        made.check()
    assert alerts == ["overload journal"]
    journal.waiting = COMMITS
    made.check()
