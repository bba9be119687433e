"""Replay of an unchanged policy shows no difference, whatever the policy, the message, the phase, the brake, the day and the release; and
what it says of a changed one is what the relay would have decided."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.decide import decide
from relay.judge import day_of
from relay.model.case import Case
from relay.model.decision import Epoch, Release
from relay.policy.models import Policy
from relay.rehearsal.recorded import case_from, release_of
from tests.fakes.custody import NOW_US
from tests.properties.test_decide_order import CASES, EPOCHS, POLICIES, RELEASES
from tests.stages.rehearsal.records import again, client, recorded

DAY_US = 86_400 * 1_000_000
MOMENTS = st.integers(-400, 400).map(lambda days: NOW_US + days * DAY_US)
CLIENTS = st.sampled_from([(client(),), (client(may_send_as=("court.example",)),), (client(may_send_as=(), forwards=True),), ()])
WITH_CLIENTS = st.builds(lambda policy, clients: policy.model_copy(update={"clients": clients}), POLICIES, CLIENTS)


@settings(max_examples=250)
@given(WITH_CLIENTS, CASES, EPOCHS, MOMENTS, RELEASES)
def test_an_unchanged_policy_shows_no_difference(
    policy: Policy, about: Case, epoch: Epoch, decided_us: int, release: Release | None
) -> None:
    releases = dict.fromkeys(range(len(about.recipients)), release) if release else {}
    counts = again(policy, [recorded(about, policy, epoch, decided_us, releases)])

    assert (counts.differ, counts.not_known, counts.routes) == (0, 0, {}), counts.summary()
    assert counts.recipients == len(about.recipients) == counts.flows.total()
    assert counts.matched == counts.matches


@settings(max_examples=100)
@given(WITH_CLIENTS, WITH_CLIENTS, CASES, EPOCHS, MOMENTS)
def test_what_would_be_is_what_decide_says_of_the_same_case(old: Policy, new: Policy, about: Case, epoch: Epoch, decided_us: int) -> None:
    new = new.model_copy(update={"clients": old.clients, "inspection": old.inspection})
    message, rows = recorded(about, old, epoch, decided_us)
    counts = again(new, [(message, rows)])

    case = case_from(message, rows)
    releases = {index: release for index, row in enumerate(rows) if (release := release_of(row))}
    said = decide(case, new, replace(epoch, policy=new.digest), day_of(decided_us), releases).verdicts
    expected = sorted("defer" if verdict.deferred else str(verdict.disposition) for verdict in said)
    found = sorted(now for (_, now), number in counts.flows.items() for _ in range(number))
    assert found == expected or counts.not_known, (counts.summary(), expected)
    if counts.not_known:
        assert set(counts.unanswered) <= {"client"}, "only a client that the policy does not have leaves a gap here"
    assert sum(counts.changes.values()) >= counts.differ, "each difference is due to something"
