"""The Received field: what it says, and what never gets into it."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.address import Mailbox
from relay.model.envelope import Sender
from relay.model.message import StoredMessage
from relay.sign.received import received_field
from tests.fakes.custody import PEER, mailbox, stored

MESSAGE = b"From: jan@example.nl\r\n\r\nHoi\r\n"
HOSTNAME = "relay.example.nl"


def field(message: StoredMessage | None = None, recipient: Mailbox | None = None, **peer: object) -> str:
    changed = replace(message or stored(MESSAGE), peer=replace(PEER, **peer))  # type: ignore[arg-type]
    return received_field(changed, recipient, HOSTNAME).decode()


def unfolded(text: str) -> str:
    return re.sub(r"\r\n[ \t]+", " ", text).removesuffix("\r\n")


def test_it_says_who_came_how_and_when_and_carries_the_commitment() -> None:
    assert unfolded(field()) == (
        "Received: from mail.example.nl ([192.0.2.10]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384)"
        " by relay.example.nl with ESMTPS id 0199f000000070008000000000000001"
        f" (commitment {'ab' * 32}); Mon, 23 Nov 2026 18:53:20 +0000"
    )


def test_one_recipient_in_all_is_named() -> None:
    assert " for <piet@partner.example>;" in unfolded(field(recipient=mailbox("piet@partner.example")))


def test_one_of_several_recipients_is_never_named() -> None:
    assert "piet" not in field(stored(MESSAGE, recipients_total=2), mailbox("piet@partner.example"))


def test_an_ipv6_client_is_written_as_its_literal() -> None:
    assert "([IPv6:2001:db8::1])" in field(address="2001:db8::1")


@pytest.mark.parametrize(
    ("peer", "smtputf8", "expected"),
    [
        ({"tls": None, "esmtp": False}, False, "SMTP"),
        ({"tls": None}, False, "ESMTP"),
        ({}, False, "ESMTPS"),
        ({"login": "jan"}, False, "ESMTPSA"),
        ({"lmtp": True}, False, "LMTPS"),
        ({"tls": None}, True, "UTF8SMTP"),
        ({"login": "jan"}, True, "UTF8SMTPSA"),
        ({"lmtp": True, "tls": None}, True, "UTF8LMTP"),
    ],
)
def test_the_protocol_is_named_by_the_rfcs(peer: dict[str, Any], smtputf8: bool, expected: str) -> None:
    message = stored(MESSAGE, Sender(mailbox("jan@example.nl"), smtputf8=smtputf8))
    assert f" with {expected} id " in unfolded(field(message, **peer))


def test_a_recipient_that_is_not_ascii_is_named_only_under_smtputf8() -> None:
    who = mailbox("joël@partner.example")
    assert "joël" not in field(recipient=who)
    assert "for <joël@partner.example>;" in field(stored(MESSAGE, Sender(mailbox("jan@example.nl"), smtputf8=True)), who)


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=40), st.text(max_size=40))
def test_nothing_from_outside_breaks_out_of_the_field(helo: str, address: str, local: str, commitment: str) -> None:
    message = stored(MESSAGE, commitment=commitment, peer=replace(PEER, helo=helo, address=address))
    text = received_field(message, Mailbox(local, "partner.example"), HOSTNAME).decode()
    assert re.fullmatch(r"Received: [ -~]+(\r\n\t[ -~]+)*\r\n", text)
    assert len(re.findall(r"\r\n\tby relay\.example\.nl with ESMTPS id ", text)) == 1
    assert not re.search(r"\([^)]*\(", text)
