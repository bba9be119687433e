"""What observed rules would have done is counted, by rule and disposition, in no more series than a monitoring can bear."""

from relay.model.decision import Disposition, Match, Verdict
from relay.observe.observed import MOST, OTHERS, Observed


def verdict(*names: str) -> Verdict:
    return Verdict(Disposition.DELIVER, observed=tuple(Match(name, Disposition.HOLD, "on trial") for name in names))


def test_each_recipient_counts_once_for_each_rule() -> None:
    observed = Observed()
    observed(verdict("a", "b"))
    observed(verdict("a"))

    assert observed.counts == {("a", "hold"): 2, ("b", "hold"): 1}


def test_rules_beyond_what_is_told_apart_are_counted_together() -> None:
    observed = Observed()
    for number in range(MOST + 50):
        observed(verdict(f"rule-{number}"))
    observed(verdict("rule-0"))

    assert len(observed.counts) == MOST + 1
    assert observed.counts["rule-0", "hold"] == 2
    assert observed.counts[OTHERS, "hold"] == 50
