"""A waiver past its end stops no policy from loading, and is told with its line."""

from datetime import date
from pathlib import Path

from relay.policy.expired import expired
from relay.policy.load import build
from tests.stages.policy.texts import FILES

WAIVERS = """\
waivers:
  - name: old
    rules: [header]
    owner: x
    reason: x
    until: 2020-01-31
  - {name: last-day, rules: [header], owner: x, reason: x, until: 2026-11-24}
"""


def test_a_waiver_past_its_end_is_told_with_its_line_and_the_policy_loads() -> None:
    files = {**FILES, "waivers/some.yaml": WAIVERS}

    assert build(files)
    assert list(expired(files, date(2026, 11, 24), Path("policies"))) == [
        "policies/waivers/some.yaml:6: the waiver 'old' ended on 2020-01-31"
    ]
    assert len(list(expired(files, date(2026, 11, 25)))) == 2
