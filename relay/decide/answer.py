"""From verdicts to what the client hears and where each recipient goes: design rule "one reply after DATA for all recipients"."""

from dataclasses import dataclass

from relay.model.decision import Decision, Disposition, Verdict
from relay.model.delivery import State


@dataclass(frozen=True, slots=True)
class Answer:
    """`states` in the order of the recipients. `codes` are 250, 451 or 550: one, or under LMTP one for each recipient (RFC 2033 §4.2)."""

    states: tuple[State, ...]
    codes: tuple[int, ...]

    @property
    def custody(self) -> bool:
        """Whether any recipient is ours now."""
        return any(state is not State.REFUSED for state in self.states)


def answer(decision: Decision, *, lmtp: bool, already_accepted: bool, vouched: bool) -> Answer:
    """Under SMTP: all rejected, 550; all deferred or rejected, 451; otherwise 250 and custody of every recipient. A client that is known
    to have said 250 already takes no refusal: everything is custody (promise 13)."""
    verdicts = decision.verdicts
    taken = tuple(custody_state(verdict, vouched=vouched) for verdict in verdicts)
    if already_accepted:
        return Answer(taken, (250,) * (len(verdicts) if lmtp else 1))
    if lmtp:
        codes = tuple(_code(verdict) for verdict in verdicts)
        return Answer(tuple(state if code == 250 else State.REFUSED for state, code in zip(taken, codes, strict=True)), codes)
    code = min(_code(verdict) for verdict in verdicts)  # 250 before 451 before 550
    return Answer(taken if code == 250 else (State.REFUSED,) * len(verdicts), (code,))


def custody_state(verdict: Verdict, *, vouched: bool) -> State:
    """Where a recipient goes that is ours. What is rejected goes back to the dispatcher, which bounces it, if its sender is vouched for;
    else it waits for a person: a bounce to an unvouched address would be backscatter."""
    match verdict.disposition:
        case Disposition.DELIVER:
            return State.UNDECIDED if verdict.deferred else State.READY
        case Disposition.HOLD:
            return State.HELD
        case Disposition.QUARANTINE:
            return State.QUARANTINED
        case Disposition.REJECT:
            return State.UNDECIDED if vouched else State.QUARANTINED


def _code(verdict: Verdict) -> int:
    if verdict.disposition is Disposition.REJECT:
        return 550
    return 451 if verdict.deferred and verdict.disposition is Disposition.DELIVER else 250
