"""Whether a recipient exists: by a list, or by asking the next hop once and remembering. Unknown by fault is 451, never a guess."""

import asyncio
from typing import Any

import pytest

from relay.model.envelope import Recipient
from relay.model.errors import ConfigurationError, Refusal
from relay.model.reply import Reply
from relay.policy.models import EntryList, RecipientCheck, Recipients
from relay.receive.verification import FOUND_SECONDS, NOT_FOUND_SECONDS, Found, RecipientVerifier
from tests.fakes.custody import mailbox
from tests.stages.receive.door import CHECK, STRANGER, Clock, NextHop, door, run

UNKNOWN_USER = Reply(550, 1, 1, "No such user")
LIST = Recipients(domains=("example.nl",), check=RecipientCheck.LIST, file="lists/ours.txt")
LISTS: dict[str, Any] = {"recipients": (LIST,), "lists": {"ours": EntryList(frozenset({"jan@example.nl"}))}}
JAN = Recipient(mailbox("jan@example.nl"))


def said(recipient: str, **changes: Any) -> str:
    """What RCPT TO hears from outside: `250`, or the refusal."""
    at = door(**changes)
    transaction = at.mail("piet@partner.example", STRANGER)
    try:
        at.rcpt(transaction, recipient)
    except Refusal:
        return at.refused[-1][2]
    return "250"


@pytest.mark.parametrize("recipient", ["jan@example.nl", "JAN@Example.NL", '"jan"@example.nl'])
def test_who_is_on_the_list_is_known(recipient: str) -> None:
    assert said(recipient, **LISTS) == "250"


def test_who_is_not_on_the_list_is_unknown_here() -> None:
    assert said("piet@example.nl", **LISTS) == "550 5.1.1 No such recipient here"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(250, 1, 5, "Ok"), "250"),
        (Reply(251, 1, 5, "Will forward"), "250"),
        (UNKNOWN_USER, "550 5.1.1 No such recipient here"),
        (Reply(550, None, None, "No"), "550 5.1.1 No such recipient here"),
        (Reply(550, 1, 10, "Null MX"), "550 5.1.1 No such recipient here"),
        (Reply(550, 7, 1, "Blocked by policy"), "451 4.4.3 The recipient can't be verified now, try again later"),
        (Reply(530, 7, 0, "STARTTLS first"), "451 4.4.3 The recipient can't be verified now, try again later"),
        (Reply(451, 4, 1, "No answer"), "451 4.4.3 The recipient can't be verified now, try again later"),
        (Reply(450, 1, 1, "Later"), "451 4.4.3 The recipient can't be verified now, try again later"),
        (ConfigurationError(["secrets/x: missing"]), "451 4.4.3 The recipient can't be verified now, try again later"),
    ],
)
def test_the_next_hop_is_asked_and_only_what_it_says_of_the_address_counts(reply: Reply | Exception, expected: str) -> None:
    assert said("jan@example.nl", next_hop=NextHop(reply)) == expected


def test_a_domain_of_ours_that_nobody_said_how_to_check_is_unknown() -> None:
    assert said("jan@example.nl", recipients=()) == "451 4.4.3 The recipient can't be verified now, try again later"


def test_a_route_that_is_gone_is_a_fault() -> None:
    gone = CHECK.model_copy(update={"route": "gone"})

    assert said("jan@example.nl", recipients=(gone,)).startswith("451")


def test_the_first_entry_that_matches_counts() -> None:
    assert said("jan@example.nl", **{**LISTS, "recipients": (LIST, CHECK)}, next_hop=NextHop(UNKNOWN_USER)) == "250"


def asked(next_hop: NextHop, *seconds: float) -> list[Found]:
    """Verifies Jan again and again, with so many seconds between."""
    clock = Clock()
    verifier = RecipientVerifier(next_hop.probe, clock)
    found = []
    given = door().policy
    for after in (0, *seconds):
        clock.us += int(after * 1_000_000)
        found.append(run(verifier.verify(JAN, given)))
    return found


def test_a_mailbox_that_was_found_is_not_asked_for_again_for_hours() -> None:
    next_hop = NextHop()

    assert asked(next_hop, FOUND_SECONDS - 1) == [Found.FOUND] * 2
    assert len(next_hop.asked) == 1
    assert asked(next_hop, FOUND_SECONDS) == [Found.FOUND] * 2
    assert len(next_hop.asked) == 3


def test_an_address_that_was_just_made_does_not_stay_refused() -> None:
    next_hop = NextHop(UNKNOWN_USER)

    assert asked(next_hop, NOT_FOUND_SECONDS - 1, 1) == [Found.NOT_FOUND] * 3
    assert len(next_hop.asked) == 2


def test_a_fault_is_not_remembered() -> None:
    next_hop = NextHop(Reply(451, 4, 1, "No answer"))

    assert asked(next_hop, 0, 0) == [Found.UNKNOWN] * 3
    assert len(next_hop.asked) == 3


def test_a_new_policy_asks_again() -> None:
    next_hop, given = NextHop(), door().policy
    verifier = RecipientVerifier(next_hop.probe, Clock())
    for digest in ("1", "1", "2"):
        run(verifier.verify(JAN, given.model_copy(update={"digest": digest})))

    assert len(next_hop.asked) == 2


def test_many_who_ask_at_once_are_one_probe() -> None:
    async def many() -> list[Found]:
        next_hop.gate = asyncio.Event()
        verifier = RecipientVerifier(next_hop.probe, Clock())
        tasks = [asyncio.create_task(verifier.verify(JAN, given)) for _ in range(20)]
        while not next_hop.asked:
            await asyncio.sleep(0)
        next_hop.gate.set()
        return await asyncio.gather(*tasks)

    next_hop, given = NextHop(), door().policy
    assert run(many()) == [Found.FOUND] * 20
    assert len(next_hop.asked) == 1


def test_a_client_that_leaves_takes_no_answer_away_from_the_others() -> None:
    async def leaves() -> Found:
        next_hop.gate = asyncio.Event()
        verifier = RecipientVerifier(next_hop.probe, Clock())
        first, second = (asyncio.create_task(verifier.verify(JAN, given)) for _ in range(2))
        while not next_hop.asked:
            await asyncio.sleep(0)
        first.cancel()
        next_hop.gate.set()
        found = await second
        assert first.cancelled()
        return found

    next_hop, given = NextHop(), door().policy
    assert run(leaves()) is Found.FOUND
    assert len(next_hop.asked) == 1
