"""Alert rules and dashboard that ship: each metric in them is one that the relay has."""

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.model.ports import SystemClock
from relay.observe.alerts import Alerts
from relay.observe.metrics import Metrics
from relay.observe.observed import Observed
from relay.settings.models import Clamd, Listener, Settings, Store, TlsFiles
from relay.store.engine import open_engine
from relay.store.reader import Reader
from relay.store.schema import upgrade
from tests.servers.certificates import issue, make_ca

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "sluis.json").read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What a relay exposes: name of each metric, and its labels."""
    folder = tmp_path_factory.mktemp("metrics")
    chain, key = issue(make_ca(folder), ["relay.example.org"])
    listener = Listener(name="inside", side="inside", addresses=("127.0.0.1:0",), tls=TlsFiles(certificate=chain, key=key))
    settings = Settings(
        hostname="relay.example.org",
        listeners=(listener,),
        store=Store(url=f"sqlite:///{folder / 'sluis.db'}"),
        clamd=Clamd(socket=folder / "clamd.ctl"),
    )
    engine = open_engine(settings.store)
    upgrade(engine)
    reader = Reader(engine)
    counts = SimpleNamespace(sessions=1, commands=1, messages=1, bugs=1, refusals={550: 1}, shed=Counter())
    alerts = Alerts()
    alerts("no-rule")
    metrics = Metrics(
        reader,
        cast(Any, SimpleNamespace(counts=counts, open=0)),
        cast(Any, SimpleNamespace(crashes=0, killed=0, status=dict, waiting=0, in_flight=0)),
        cast(Any, SimpleNamespace(commits=0, works=0, waiting=0)),
        cast(Any, SimpleNamespace(free_bytes=lambda: 1)),
        lambda: cast(Any, (None, Epoch("0" * 64, "open", False))),
        settings,
        alerts,
        SystemClock(),
        lambda: None,
        Observed(),
    )
    text = metrics.text().decode()
    reader.close()
    engine.dispose()
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    for name, labels in re.findall(r"(?m)^(sluis_\w+?)(?:\{(.*)\})? ", text):
        found.setdefault(name, {"instance", "job"}).update(re.findall(r"(\w+)=", labels))
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_exists(expression: str, exposed: dict[str, set[str]]) -> None:
    names = set(re.findall(r"\b(sluis_\w+|up)\b(?!\")", re.sub(r"job=\"\w+\"", "", expression)))
    assert names, expression
    assert names <= set(exposed)
    for name, labels in re.findall(r"(\w+)\{(.*?)\}", expression):
        assert set(re.findall(r"(\w+)[=!]", labels)) <= exposed[name]
    for states in re.findall(r'state[=!]~?"([^"]*)"', expression):
        assert set(states.split("|")) <= {state.value for state in State}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_how_urgent_it_is(rule: dict[str, Any], exposed: dict[str, set[str]]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "description"}
    for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
        names = re.findall(r"sluis_\w+|\bup\b", rule["expr"])
        assert any(label in exposed[name] for name in names)


def test_every_way_in_which_mail_can_wait_has_an_alert_for_its_age_or_number() -> None:
    text = " ".join(rule["expr"] for rule in RULES)
    waiting = {State.READY, State.UNDECIDED, State.HELD, State.QUARANTINED, State.UNDELIVERABLE}
    assert {state.value for state in waiting} <= set(re.findall(r'state="(\w+)"', text))


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
