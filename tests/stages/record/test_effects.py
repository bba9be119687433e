"""What follows besides the disposition is in the record, with the delivery, in the same commit as the decision."""

import asyncio
import json
from dataclasses import replace
from functools import partial

from relay.model.delivery import State
from relay.model.effects import NO_EFFECTS, Effects
from relay.model.message import Decided
from relay.model.reply import Reply
from relay.record.rebuilt import read_object
from relay.store import notifications
from tests.servers.recording import CONTENT, Recording

SEEN = Effects(fields=(("X-Sluis-Seen", "yes"),))
EVIDENCE = Effects(keep=True, notify=(("evidence", "desk@example.nl"),))
REFUSED = Reply(550, 7, 1, "Refused by policy")


def decided(recording: Recording, *effects: Effects, state: State = State.READY) -> Decided:
    found = recording.decided([state] * len(effects))
    verdicts = tuple(replace(verdict, effects=own) for verdict, own in zip(found.decision.verdicts, effects, strict=True))
    return replace(found, decision=replace(found.decision, verdicts=verdicts))


def accept(recording: Recording, *effects: Effects, state: State = State.READY) -> None:
    asyncio.run(recording.record.accept(decided(recording, *effects, state=state), [state] * len(effects)))


def test_a_delivery_keeps_its_effects_and_most_have_none(recording: Recording) -> None:
    accept(recording, NO_EFFECTS, SEEN)
    assert [row["effects"] for row in recording.rows("delivery")] == [None, {"headers": [["X-Sluis-Seen", "yes"]]}]
    [event] = [json.loads(row["canonical"]) for row in recording.rows("event_record")]
    told = [recipient.get("effects") for recipient in event["details"]["recipients"]]
    assert told == [None, {"headers": [["X-Sluis-Seen", "yes"]]}], "the audit shows it"


def test_recipients_whose_effects_differ_are_claimed_apart(recording: Recording) -> None:
    """One's fields must not reach another, nor its mail go another's way."""
    accept(recording, NO_EFFECTS, SEEN, Effects(require_tls=True), SEEN)
    claims = recording.claim()
    found = {tuple(ticket.ordinal for ticket in claimed.tickets): claimed.effects for claimed in claims}
    assert found == {(0,): NO_EFFECTS, (1, 3): SEEN, (2,): Effects(require_tls=True)}


def test_what_a_rule_keeps_is_kept_from_retention_and_told_once(recording: Recording) -> None:
    accept(recording, EVIDENCE, EVIDENCE, state=State.QUARANTINED)
    [kept] = recording.rows("kept")
    assert kept["actor"] == "policy (quarantine-rule)"
    [due] = recording.reader.read_now(partial(notifications.due, now_us=recording.clock.now_us(), limit=10))
    assert (due.rule, due.address, due.written) == ("evidence", "desk@example.nl", False)


def test_a_refused_message_that_is_evidence_keeps_its_body_and_nobody_else_does(recording: Recording) -> None:
    for effects in (EVIDENCE, NO_EFFECTS):
        asyncio.run(recording.record.refuse(decided(recording, effects, state=State.REFUSED), REFUSED, "by rule"))
    evidence, other = recording.rows("message")
    assert other["spool_object"] is None
    reader = recording.spool.open(evidence["spool_object"])
    assert b"".join(reader.chunks()) == CONTENT
    reader.close()
    assert [row["state"] for row in recording.rows("delivery")] == ["refused", "refused"]
    assert recording.claim() == []
    assert len(recording.rows("kept")) == 1


def test_evidence_that_is_rebuilt_from_the_spool_is_still_refused_evidence(recording: Recording) -> None:
    asyncio.run(recording.record.refuse(decided(recording, EVIDENCE, state=State.REFUSED), REFUSED, "by rule"))
    [message] = recording.rows("message")
    rebuilt = read_object(recording.spool, message["spool_object"])
    [delivery] = rebuilt.deliveries
    assert (delivery["state"], delivery["effects"]["keep"], rebuilt.message["reply"]) == ("refused", True, str(REFUSED))
