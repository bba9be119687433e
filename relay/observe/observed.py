"""What rules would have done that are only observed (`mode: observe`), counted for the monitoring. It changes nothing."""

from collections import Counter

from relay.model.decision import Verdict

MOST = 500  # series of one metric; a policy of thousands of observed rules must not drown what reads the metrics
OTHERS = "(others)"


class Observed:
    """`counts` is by rule and disposition, since the start: recipients on whom the rule would have spoken. Beyond MOST pairs all others
    are one, for each disposition."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def __call__(self, verdict: Verdict) -> None:
        for match in verdict.observed:
            key = match.rule, str(match.disposition)
            known = key in self.counts or len(self.counts) < MOST
            self.counts[key if known else (OTHERS, key[1])] += 1
