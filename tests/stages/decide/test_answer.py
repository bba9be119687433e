"""From verdicts to one reply after DATA, or one for each recipient under LMTP, and where each recipient goes."""

import itertools

import pytest

from relay.decide.answer import Answer, answer, custody_state
from relay.model.decision import Decision, Disposition, Verdict
from relay.model.delivery import State
from tests.stages.decide.cases import EPOCH

DELIVER = Verdict(Disposition.DELIVER, route="out")
DEFER = Verdict(Disposition.DELIVER, deferred=True, route="out")
HOLD = Verdict(Disposition.HOLD)
QUARANTINE = Verdict(Disposition.QUARANTINE)
REJECT = Verdict(Disposition.REJECT)
READY, UNDECIDED, HELD, QUARANTINED, REFUSED = State.READY, State.UNDECIDED, State.HELD, State.QUARANTINED, State.REFUSED


def said(*verdicts: Verdict, lmtp: bool = False, already_accepted: bool = False, vouched: bool = True) -> Answer:
    return answer(Decision(EPOCH, verdicts), lmtp=lmtp, already_accepted=already_accepted, vouched=vouched)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((REJECT,), 550),
        ((REJECT, REJECT), 550),
        ((DEFER,), 451),
        ((DEFER, REJECT), 451),
        ((DELIVER, REJECT), 250),
        ((DELIVER, DEFER), 250),
        ((HOLD, REJECT, DEFER), 250),
        ((QUARANTINE, REJECT), 250),
        ((DELIVER,), 250),
    ],
)
def test_all_rejected_is_550_all_deferred_or_rejected_is_451_otherwise_250(verdicts: tuple[Verdict, ...], code: int) -> None:
    for order in itertools.permutations(verdicts):
        assert said(*order).codes == (code,)


def test_250_is_custody_of_every_recipient() -> None:
    reply = said(DELIVER, DEFER, HOLD, QUARANTINE, REJECT)

    assert reply == Answer((READY, UNDECIDED, HELD, QUARANTINED, UNDECIDED), (250,))
    assert reply.custody


@pytest.mark.parametrize("verdicts", [(REJECT, REJECT), (DEFER, REJECT)])
def test_what_was_not_accepted_is_nobodys_custody(verdicts: tuple[Verdict, ...]) -> None:
    reply = said(*verdicts)

    assert reply.states == (REFUSED, REFUSED)
    assert not reply.custody


def test_a_rejection_in_custody_is_bounced_to_a_vouched_sender_and_else_waits_for_a_person() -> None:
    assert custody_state(REJECT, vouched=True) is UNDECIDED  # the dispatcher decides again, and bounces
    assert custody_state(REJECT, vouched=False) is QUARANTINED
    assert said(DELIVER, REJECT, vouched=False).states == (READY, QUARANTINED)


def test_lmtp_answers_for_each_recipient() -> None:
    reply = said(DELIVER, REJECT, DEFER, HOLD, QUARANTINE, lmtp=True)

    assert reply.codes == (250, 550, 451, 250, 250)
    assert reply.states == (READY, REFUSED, REFUSED, HELD, QUARANTINED)


@pytest.mark.parametrize("lmtp", [False, True])
def test_a_client_that_has_said_250_already_hears_nothing_else(lmtp: bool) -> None:
    reply = said(REJECT, DEFER, lmtp=lmtp, already_accepted=True, vouched=False)

    assert reply.codes == ((250, 250) if lmtp else (250,))
    assert reply.states == (QUARANTINED, UNDECIDED)
    assert reply.custody
