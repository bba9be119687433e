"""What goes into JSON columns comes out as it was, whatever the client said."""

import json

from hypothesis import given
from hypothesis import strategies as st

from relay.model.address import Mailbox
from relay.model.client import Peer, Side, Tls
from relay.model.decision import Disposition, Match, Release, Verdict
from relay.model.envelope import Body, Recipient, Sender
from relay.store.codec import (
    match_from_json,
    matches_to_json,
    peer_from_json,
    peer_to_json,
    recipient_from_json,
    recipient_to_json,
    release_from_json,
    release_to_json,
    sender_from_json,
    sender_to_json,
)

WORDS = st.text(max_size=20)
MAILBOXES = st.builds(Mailbox, WORDS, WORDS)
OPTIONAL = st.none() | WORDS
TLS = st.builds(Tls, WORDS, WORDS, OPTIONAL, st.lists(WORDS, max_size=3).map(tuple))
PORTS = st.integers(0, 65535)
PEERS = st.builds(
    Peer,
    listener=WORDS,
    side=st.sampled_from(Side),
    address=WORDS,
    port=PORTS,
    local_address=WORDS,
    local_port=PORTS,
    lmtp=st.booleans(),
    helo=WORDS,
    esmtp=st.booleans(),
    tls=st.none() | TLS,
    login=OPTIONAL,
    proxy=OPTIONAL,
    forwarded=st.dictionaries(WORDS, WORDS, max_size=3),
)
SENDERS = st.builds(
    Sender,
    st.none() | MAILBOXES,
    body=st.sampled_from(Body),
    smtputf8=st.booleans(),
    ret=st.sampled_from([None, "FULL", "HDRS"]),
    envid=OPTIONAL,
)
NOTIFY = st.frozensets(st.sampled_from(["SUCCESS", "FAILURE", "DELAY"])) | st.just(frozenset({"NEVER"}))
MATCHES = st.builds(Match, WORDS, st.sampled_from(Disposition), WORDS, st.booleans(), OPTIONAL)
IDENTITIES = st.tuples(WORDS, WORDS, WORDS, WORDS)
RELEASES = st.builds(Release, WORDS, st.frozensets(IDENTITIES, max_size=4), st.frozensets(WORDS, max_size=4), st.booleans())


def through_json(value: object) -> object:
    """As a JSON column keeps it."""
    return json.loads(json.dumps(value))


@given(peer=PEERS)
def test_a_client_comes_back(peer: Peer) -> None:
    value = through_json(peer_to_json(peer))
    assert isinstance(value, dict)
    assert peer_from_json(value) == peer


@given(sender=SENDERS)
def test_a_sender_comes_back(sender: Sender) -> None:
    value = through_json(sender_to_json(sender))
    assert isinstance(value, dict)
    assert sender_from_json(value) == sender


@given(recipient=st.builds(Recipient, MAILBOXES, NOTIFY, OPTIONAL))
def test_a_recipient_comes_back(recipient: Recipient) -> None:
    value = through_json(recipient_to_json(recipient))
    assert isinstance(value, dict)
    assert recipient_from_json(value) == recipient


@given(matches=st.lists(MATCHES, max_size=4))
def test_the_rules_of_a_verdict_come_back(matches: list[Match]) -> None:
    value = through_json(matches_to_json(Verdict(Disposition.HOLD, tuple(matches))))
    assert isinstance(value, list)
    assert [match_from_json(item) for item in value] == matches


@given(release=RELEASES)
def test_a_release_comes_back(release: Release) -> None:
    value = through_json(release_to_json(release))
    assert isinstance(value, dict)
    assert release_from_json(value) == release
