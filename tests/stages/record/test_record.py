"""What the record promises: one durable commit for what was said, with its event, after the body is durable (promises 1 and 2)."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event as listen_for

from relay.model.address import Mailbox
from relay.model.client import Peer, Side
from relay.model.decision import Decision, Disposition, Epoch, Match
from relay.model.delivery import State
from relay.model.envelope import Body as BodyKind
from relay.model.envelope import Recipient, Sender
from relay.model.errors import SpoolError, StoreError
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind
from relay.model.message import Body, Outcome, Recorded, Signed
from relay.model.reply import Reply
from relay.phases import state as phase_state
from relay.phases.state import ChangedMeanwhile
from relay.sign.body_hash import RelaxedBodyHash
from relay.store import states
from relay.store.spool.durable import SpoolFatal
from relay.store.spool.folder import FolderSpool
from tests.fakes.custody import PEER
from tests.servers.recording import CONTENT, EPOCH, SECOND, Recording, verdict_of

REFUSED = Reply(550, 7, 1, "Refused by policy")
BIO2_FIELDS = {"id", "kind", "object", "result", "origin", "actor", "time_us", "reason", "details"}


def events(recording: Recording) -> list[dict[str, Any]]:
    """What the events committed to, oldest first, each with the fields of BIO2 8.15."""
    found = [json.loads(row["canonical"]) for row in recording.rows("event_record")]
    for value in found:
        assert value.keys() == BIO2_FIELDS
        assert value["actor"]
        assert value["origin"]
        assert value["object"]
        assert value["result"]
        assert int(value["time_us"]) > 0
    return found


class ToldSpool(FolderSpool):
    """Tells when it has sealed a body, or that it could not."""

    def __init__(self, recording: Recording, order: list[str], failure: Exception | None = None) -> None:
        super().__init__(recording.settings, RelaxedBodyHash)
        self._order = order
        self._failure = failure

    async def seal(self, body: Body, manifest: dict[str, Any]) -> str:
        if self._failure is not None:
            raise self._failure
        kept = await super().seal(body, manifest)
        self._order.append("sealed")
        return kept


@contextmanager
def told(recording: Recording, failure: Exception | None = None) -> Iterator[list[str]]:
    """The order in which things become durable."""
    order: list[str] = []
    spool = ToldSpool(recording, order, failure)
    recording.record_with(spool)
    listen_for.listen(recording.engine, "commit", lambda _: order.append("committed"))
    yield order
    spool.close()


def test_accept_returns_after_body_and_commit_and_the_body_was_first(recording: Recording) -> None:
    with told(recording) as order:
        recording.accept(State.READY, State.HELD)
    assert order == ["sealed", "committed"]


def test_message_deliveries_queue_and_event_are_one_commit(recording: Recording) -> None:
    before = recording.journal.commits
    recorded = recording.accept(State.READY, State.HELD, State.QUARANTINED, State.UNDECIDED, State.REFUSED)
    assert recording.journal.commits == before + 1
    [message] = recording.rows("message")
    assert (message["commitment"], message["recipients"], message["reply"]) == (recorded.commitment, 5, "250")
    assert [row["state"] for row in recording.rows("delivery")] == ["ready", "held", "quarantined", "undecided", "refused"]
    assert [row["ordinal"] for row in recording.rows("queue")] == [0, 3]
    [event] = recording.rows("event")
    assert (event["kind"], event["commitment"].hex()) == ("accepted", recorded.commitment)
    assert recording.reader.read_now(states.balance).accepted == 4


def test_the_body_in_custody_is_what_came_in(recording: Recording) -> None:
    recorded = recording.accept(content=CONTENT)
    reader = recording.spool.open(recorded.decided.inspected.received.body.object)
    assert b"".join(reader.chunks()) == CONTENT
    reader.close()


def test_the_manifest_beside_the_body_holds_envelope_id_and_decision(recording: Recording) -> None:
    """So that a lost store can be rebuilt from the spool."""
    recorded = recording.accept(State.READY, State.QUARANTINED)
    body = recorded.decided.inspected.received.body
    manifest = recording.spool.manifest(body.object)
    assert manifest["commitment"] == recorded.commitment
    event = json.loads(manifest["event"])
    assert event == events(recording)[0]
    assert event["object"] == f"message {body.object}"
    assert [item["state"] for item in event["details"]["recipients"]] == ["ready", "quarantined"]
    assert event["details"]["sender"]["path"] == ["jan", "example.nl"]


def test_the_accepted_event_says_who_sent_what_to_whom_and_what_was_decided(recording: Recording) -> None:
    finding = Finding(Kind.ENCRYPTED, "archive", "encrypted-member", "2/a.zip")
    inspection = Inspection(Header(message_id="<1@example.nl>"), findings=(finding,), versions=(("clamd", "1.4/27000"),))
    recorded = recording.accept(State.READY, State.QUARANTINED, inspection=inspection)
    [event] = events(recording)
    details = event["details"]
    received = recorded.decided.inspected.received
    assert event["result"] == "accepted"
    assert event["origin"] == "inside [192.0.2.10]"
    assert event["actor"] == "relay relay.example.nl"
    assert event["time_us"] == str(received.received_us)
    assert (details["digest"], details["size"], details["body_hash"]) == (received.body.digest, len(CONTENT), received.body.body_hash)
    assert details["policy"] == EPOCH.policy
    assert details["findings"] == [list(finding.identity)]
    assert details["scanners"] == [["clamd", "1.4/27000"]]
    assert [item["rules"] for item in details["recipients"]] == [[], ["quarantine-rule"]]
    assert [item["mailbox"] for item in details["recipients"]] == [["piet0", "partner.example"], ["piet1", "partner.example"]]
    assert event["reason"] == "by rule"


def test_nothing_is_committed_where_the_body_could_not_be_made_durable(recording: Recording) -> None:
    with told(recording, SpoolFatal("no")) as order, pytest.raises(SpoolFatal):
        recording.accept()
    assert order == []
    assert recording.rows("message") == recording.rows("event") == []
    assert recording.reader.read_now(states.balance).accepted == 0


LARGE = b"Subject: large\r\n\r\n" + b"x" * 300_000
"""In a file before it is sealed."""


def test_a_commit_that_failed_is_told_and_the_body_stays_for_the_sweep(recording: Recording) -> None:
    """A lost connection may hide a commit that was made: the body of a message that may be in custody is not thrown away."""
    decided = recording.decided(content=LARGE)
    asyncio.run(recording.record.accept(decided, [State.READY]))
    with pytest.raises(StoreError):
        asyncio.run(recording.record.accept(decided, [State.READY]))
    assert len(recording.rows("event")) == len(recording.rows("message")) == 1
    assert list(recording.spool.names()) == [decided.inspected.received.body.object]
    assert recording.reader.read_now(states.balance).holds


def test_a_refused_message_leaves_its_features_and_event_and_no_body(recording: Recording) -> None:
    decided = recording.decided((State.REFUSED, State.REFUSED))
    asyncio.run(recording.record.refuse(decided, REFUSED, "by rule"))
    [message] = recording.rows("message")
    assert (message["spool_object"], message["reply"]) == (None, "550 5.7.1 Refused by policy")
    assert message["digest"] == decided.inspected.received.body.digest
    assert message["inspection"]["header"]["subject"] == "geheim dossier"
    assert [row["state"] for row in recording.rows("delivery")] == ["refused", "refused"]
    [event] = events(recording)
    assert (event["kind"], event["result"], event["details"]["reply"]) == ("refused", "550", "550 5.7.1 Refused by policy")
    assert list(recording.spool.names()) == []
    with pytest.raises(SpoolError):
        recording.spool.open(decided.inspected.received.body.object)
    found = recording.reader.read_now(states.balance)
    assert found.holds
    assert found.accepted == 0, "what was refused is not in our custody"


@pytest.mark.parametrize(
    ("sender", "recipient", "object_"),
    [
        (None, None, "connection"),
        (Sender(Mailbox("jan", "example.nl")), None, "from <jan@example.nl>"),
        (Sender(None), Recipient(Mailbox("piet", "partner.example")), "from <> to <piet@partner.example>"),
        (Sender(Mailbox("ja\r\nn", "example.nl")), None, "from <ja\\u000d\\u000an@example.nl>"),
    ],
)
def test_a_refusal_before_data_leaves_an_event_and_no_message(
    recording: Recording, sender: Sender | None, recipient: Recipient | None, object_: str
) -> None:
    peer = Peer("outside", Side.OUTSIDE, "198.51.100.7", 4711, "192.0.2.1", 25, helo="mx\x1b[31m.example", login="ja\nn")
    asyncio.run(recording.record.refusal(peer, sender, recipient, Reply(554, 7, 1, "No"), "no\nclient"))
    [event] = events(recording)
    assert (event["kind"], event["object"], event["result"]) == ("refused", object_, "554")
    assert event["origin"] == "outside [198.51.100.7]"
    assert event["reason"] == "no\\u000aclient"
    assert event["details"] == {"reply": "554 5.7.1 No", "helo": "mx\\u001b[31m.example", "login": "ja\\u000an"}
    assert recording.rows("message") == []


def test_a_mark_is_one_durable_commit_without_an_event(recording: Recording) -> None:
    """The accepted event and the outcome are the two events of an ordinary message."""
    recording.accept()
    [claimed] = recording.claim()
    before = recording.journal.commits
    asyncio.run(recording.record.mark(claimed, (0, 0, 0)))
    assert recording.journal.commits == before + 1
    assert recording.rows("queue")[0]["marked_fence"] == claimed.fence
    assert len(recording.rows("event")) == 1


def deliver(recording: Recording, *outcomes: Outcome, next_us: dict[int, int] | None = None) -> Signed:
    [claimed] = recording.claim()
    asyncio.run(recording.record.mark(claimed, (0, 0, 0)))
    signed = Signed(claimed, b"DKIM-Signature: v=1\r\n")
    asyncio.run(recording.record.outcomes(signed, outcomes, next_us or {}))
    return signed


def test_outcomes_say_for_each_recipient_what_left_and_what_was_answered(recording: Recording) -> None:
    recording.accept(State.READY, State.READY, State.READY)
    later = recording.clock.now_us() + 60 * SECOND
    left: dict[str, Any] = {"next_hop": "mx[192.0.2.9]:25", "tls": "TLSv1.3 TLS_AES_128_GCM_SHA256", "prefix_sha256": "cd" * 32}
    deliver(
        recording,
        Outcome(0, State.DELIVERED, "250 2.0.0 Ok", "2.0.0", **left),
        Outcome(1, State.READY, "451 4.3.0 Later\x07", "4.3.0", **left),
        Outcome(2, State.BOUNCED, "550 5.1.1 Unknown", "5.1.1", **left),
        next_us={1: later},
    )
    assert [row["state"] for row in recording.rows("delivery")] == ["delivered", "ready", "bounced"]
    [queued] = recording.rows("queue")
    assert (queued["ordinal"], queued["next_us"], queued["attempts"], queued["marked_fence"]) == (1, later, 1, None)
    event = events(recording)[-1]
    assert (event["kind"], event["result"]) == ("outcome", "bounced, delivered, ready")
    assert event["details"]["digest"] == recording.rows("message")[0]["digest"]
    first, second, third = event["details"]["recipients"]
    assert (first["recipient"], first["reply"], first["possible_duplicate"]) == ("piet0@partner.example", "250 2.0.0 Ok", False)
    assert {key: first[key] for key in left} == left
    assert second["reply"] == "451 4.3.0 Later\\u0007"
    assert third["status"] == "5.1.1"
    assert recording.reader.read_now(states.balance).holds


def test_an_ordinary_message_costs_two_events_and_three_commits(recording: Recording) -> None:
    recording.accept()
    deliver(recording, Outcome(0, State.DELIVERED, "250 Ok", "2.0.0"))
    assert [event["kind"] for event in events(recording)] == ["accepted", "outcome"]
    assert recording.journal.works == 4, "accept, claim, mark, outcome"


def redecide(recording: Recording, after: Sequence[State], epoch: Epoch, inspection: Inspection | None = None) -> None:
    [claimed] = recording.claim()
    decision = Decision(epoch, tuple(verdict_of(state) for state in after))
    seen = inspection or claimed.message.inspection
    asyncio.run(recording.record.redecide(claimed, seen, decision, after, recording.clock.now_us() + 300 * SECOND))


def test_what_is_decided_again_is_in_the_record_before_it_goes_on(recording: Recording) -> None:
    recording.accept(State.UNDECIDED, State.UNDECIDED, State.UNDECIDED, State.UNDECIDED)
    recording.clock.forward(300 * SECOND)
    new = Epoch("cd" * 32, "next")
    finding = Finding(Kind.MALWARE, "clamd", "Eicar-Test-Signature")
    before = recording.journal.commits
    after = (State.READY, State.HELD, State.QUARANTINED, State.UNDECIDED)
    redecide(recording, after, new, Inspection(Header(), findings=(finding,)))
    assert recording.journal.commits == before + 2, "the claim and the decision"
    assert [row["state"] for row in recording.rows("delivery")] == [state.value for state in after]
    assert {row["policy"] for row in recording.rows("delivery")} == {new.policy}
    queued = {row["ordinal"]: row for row in recording.rows("queue")}
    assert queued.keys() == {0, 3}
    assert (queued[0]["route"], queued[0]["phase"], queued[0]["next_us"]) == ("out", "next", recording.clock.now_us())
    assert (queued[3]["route"], queued[3]["next_us"]) == ("", recording.clock.now_us() + 300 * SECOND)
    event = events(recording)[-1]
    assert (event["kind"], event["origin"]) == ("decided", "queue")
    assert event["details"]["findings"] == [list(finding.identity)]
    assert [item["state"] for item in event["details"]["recipients"]] == [state.value for state in after]
    assert recording.rows("message")[0]["inspection"]["findings"][0]["name"] == "Eicar-Test-Signature"


def test_the_record_tells_what_a_decision_rests_on_and_what_observed_rules_would_have_said(recording: Recording) -> None:
    decided = recording.decided((State.UNDECIDED, State.READY))
    late, plain = decided.decision.verdicts
    watched = replace(plain, observed=(Match("trial", Disposition.REJECT, "on trial"),))
    moment = recording.clock.now_us() + 7
    decided = replace(decided, decision=replace(decided.decision, verdicts=(late, watched), decided_us=moment))
    asyncio.run(recording.record.accept(decided, (State.UNDECIDED, State.READY)))

    first, second = recording.rows("delivery")
    assert (first["decided_us"], first["deferred"], first["observed"], first["inspection"]) == (moment, True, None, None)
    assert (second["decided_us"], second["deferred"], second["inspection"]) == (moment, False, None)
    assert second["observed"] == [{"rule": "trial", "disposition": "reject", "because": "on trial"}]
    assert "trial" not in str(second["rules"])
    told = events(recording)[-1]["details"]["recipients"]
    assert ["observed" in one for one in told] == [False, True]
    assert told[1]["observed"] == ["trial"]


def test_who_was_decided_before_the_message_was_inspected_again_keeps_what_was_known_then(recording: Recording) -> None:
    recording.accept(State.HELD, State.UNDECIDED, State.UNDECIDED)
    recording.clock.forward(300 * SECOND)
    before = recording.rows("message")[0]["inspection"]
    finding = Finding(Kind.MALWARE, "clamd", "Eicar-Test-Signature")
    redecide(recording, (State.HELD, State.UNDECIDED), EPOCH, Inspection(Header(), findings=(finding,)))

    assert [row["inspection"] for row in recording.rows("delivery")] == [before, None, None]
    assert recording.rows("message")[0]["inspection"]["findings"][0]["name"] == "Eicar-Test-Signature"

    recording.clock.forward(301 * SECOND)
    versions = Inspection(Header(), findings=(finding,), versions=(("clamd", "tomorrow"),))
    redecide(recording, (State.HELD,), EPOCH, versions)
    assert [row["inspection"] for row in recording.rows("delivery")] == [before, None, None], "new signatures alone decide nothing"


def test_a_new_decision_keeps_the_end_that_was_set_when_the_message_was_accepted(recording: Recording) -> None:
    recording.accept(State.UNDECIDED)
    end = recording.rows("queue")[0]["expires_us"]
    for _ in range(3):
        recording.clock.forward(301 * SECOND)
        redecide(recording, [State.UNDECIDED], EPOCH)
    assert recording.rows("queue")[0]["expires_us"] == end


def test_a_delay_that_was_told_is_told_once(recording: Recording) -> None:
    recording.accept()
    [claimed] = recording.claim()
    asyncio.run(recording.record.delay_notified(claimed, [0]))
    asyncio.run(recording.record.withdraw(claimed, recording.clock.now_us()))
    assert recording.claim()[0].tickets[0].delay_notified


def test_an_operation_is_an_event_of_its_own(recording: Recording) -> None:
    record = recording.record
    asyncio.run(record.operation("start", object_="relay", result="started", origin="process", actor="relay:1", reason="a\x00b"))
    [event] = events(recording)
    assert (event["kind"], event["actor"], event["reason"]) == ("start", "relay:1", "a\\u0000b")
    assert recording.rows("event_record")[0]["message_id"] is None


def test_everything_of_a_message_is_found_by_its_id(recording: Recording) -> None:
    recorded: Recorded = recording.accept()
    deliver(recording, Outcome(0, State.DELIVERED, "250 Ok", "2.0.0"))
    assert {row["message_id"] for row in recording.rows("event_record")} == {recorded.decided.inspected.received.id}


def test_envelope_and_client_come_back_as_they_were(recording: Recording) -> None:
    sender = Sender(Mailbox("j\u00e4n", "voorbeeld.example"), 1234, BodyKind.EIGHT_BIT, smtputf8=True, ret="HDRS", envid="QQ 1")
    recipient = Recipient(Mailbox('"p iet"', "[192.0.2.1]"), frozenset({"FAILURE", "DELAY"}), "rfc822;piet@elsewhere.example")
    recording.accept(sender=sender, recipients=[recipient])
    [claimed] = recording.claim()
    # The declared SIZE is not kept: the true one is.
    assert claimed.message.sender == Sender(sender.path, None, sender.body, sender.smtputf8, sender.ret, sender.envid)
    assert claimed.tickets[0].recipient == recipient
    assert claimed.message.peer == PEER


def test_nothing_personal_is_in_what_can_not_be_erased(recording: Recording) -> None:
    """`event` holds an id, a kind and a salted commitment. Erasing takes the rest."""
    recording.accept()
    deliver(recording, Outcome(0, State.DELIVERED, "250 Ok", "2.0.0"))
    rows = recording.rows("event")
    assert {row["kind"] for row in rows} == {"accepted", "outcome"}
    assert all(row.keys() == {"id", "kind", "commitment"} and len(row["commitment"]) == 32 for row in rows)


def test_a_brake_that_another_process_pulled_counts_before_the_final_dot(recording: Recording) -> None:
    """Nobody has told this process yet; the transaction of the mark sees it all the same."""
    recording.accept(State.READY)
    (claimed,) = recording.claim()
    seen = recording.reader.read_now(phase_state.read).fences
    recording.write(lambda connection: phase_state.set_brake(connection, True, "something leaks", seen[1]))
    with pytest.raises(ChangedMeanwhile):
        asyncio.run(recording.record.mark(claimed, seen))
    assert recording.rows("queue")[0]["marked_fence"] is None


def test_several_final_dots_of_one_claim_are_one_attempt(recording: Recording) -> None:
    recording.accept(State.READY)
    (claimed,) = recording.claim()
    asyncio.run(recording.record.mark(claimed, (0, 0, 0)))
    asyncio.run(recording.record.mark(claimed, (0, 0, 0), first=False))
    assert recording.rows("delivery")[0]["attempts"] == 1
