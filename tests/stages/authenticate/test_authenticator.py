"""All of authentication together: in time whatever DNS does, and by the server that really sent the message."""

import asyncio
import time
import uuid
from dataclasses import replace
from typing import Any

import pytest

from relay.app.resolver import DnsResolver
from relay.authenticate.authenticator import DnsAuthenticator
from relay.authenticate.signatures import signatures
from relay.model.authentication import Authentication
from relay.model.client import Side
from relay.model.envelope import Envelope, Sender
from relay.model.features import Header, Inspection
from relay.model.message import Body, Inspected, Received
from tests.fakes.custody import PEER, mailbox
from tests.servers.nameserver import NameServer, Records
from tests.stages.authenticate.signed import MESSAGE, body_hash, record, signed, zone

NAMES: Records = {
    ("partner.example", "TXT"): ['"v=spf1 ip4:192.0.2.10 -all"'],
    ("_dmarc.partner.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("s1._domainkey.partner.example", "TXT"): [zone(record())],
    ("evil.example", "TXT"): ['"v=spf1 +all"'],
}
ENOUGH = 3.0
"""Seconds in all, where some names are silent and the others must be answered in time."""


def inspected(
    message: bytes = MESSAGE, sender: str = "jan@partner.example", authors: tuple[str, ...] = ("jan@partner.example",), **peer: Any
) -> Inspected:
    received = Received(
        id=uuid.uuid4(),
        peer=replace(PEER, side=Side.OUTSIDE, **peer),
        client="internet",
        envelope=Envelope(Sender(mailbox(sender) if sender else None), ()),
        body=Body("", len(message), "", body_hash(message)),
        received_us=0,
        vouched=False,
        authorised=False,
    )
    header = Header(from_addresses=authors, from_fields=1, size=100)
    return Inspected(received, Inspection(header, signatures=signatures(message, body_hash(message))))


def said(
    about: Inspected, already_accepted: bool = False, seconds: float = 5.0, silent: set[str] | None = None, failing: set[str] | None = None
) -> Authentication:
    async def asked() -> Authentication:
        async with NameServer(NAMES, failing=failing, silent=silent) as names:
            return await DnsAuthenticator(DnsResolver([names.address]), seconds).authenticate(about, already_accepted)

    return asyncio.run(asked())


def words(found: Authentication) -> tuple[str | None, ...]:
    return (*(found.asked(name) for name in ("spf", "dkim", "dmarc")), found.policy)


def test_mail_is_by_whom_it_says_by_its_address_or_by_its_signature() -> None:
    assert words(said(inspected())) == ("pass", "none", "pass", "reject")
    assert words(said(inspected(signed(), address="203.0.113.9"))) == ("fail", "pass", "pass", "reject")
    assert words(said(inspected(address="203.0.113.9"))) == ("fail", "none", "fail", "reject")
    assert words(said(inspected(signed(domain="evil.example"), sender="eve@evil.example"))) == ("pass", "permerror", "fail", "reject")


def test_dns_that_is_silent_costs_no_more_than_the_time_that_there_is() -> None:
    began = time.monotonic()
    found = said(inspected(signed()), seconds=0.5, silent={name for name, _ in NAMES})
    assert time.monotonic() - began < 3
    assert words(found) == ("temperror", "temperror", "temperror", "")
    assert found.unfinished


def test_dns_that_fails_is_a_temporary_error() -> None:
    assert words(said(inspected(signed()), failing={name for name, _ in NAMES})) == ("temperror", "temperror", "temperror", "")


@pytest.mark.parametrize("silent", [{"evil.example"}, {"_dmarc.evil.example"}, {"s1._domainkey.evil.example", "evil.example"}])
def test_a_forger_whose_name_servers_keep_silent_fails_all_the_same(silent: set[str]) -> None:
    about = inspected(signed(domain="evil.example"), sender="eve@evil.example")
    assert words(said(about, seconds=ENOUGH, silent=silent))[2:] == ("fail", "reject")


def test_one_key_that_does_not_come_hides_no_other() -> None:
    twice = signed(signed(), domain="mute.example")
    found = said(inspected(twice), seconds=ENOUGH, silent={"s1._domainkey.mute.example"})
    assert [str(one.result) for one in found.signatures] == ["temperror", "pass"]


def test_a_from_of_two_domains_or_none_has_no_dmarc() -> None:
    assert words(said(inspected(authors=("a@partner.example", "b@evil.example"))))[2:] == ("permerror", "")
    assert words(said(inspected(authors=())))[2:] == ("permerror", "")
    assert words(said(inspected(authors=("a@partner.example", "b@partner.example"))))[2:] == ("pass", "reject")


def test_behind_an_edge_the_server_that_it_names_counts_and_without_one_nobody_knows() -> None:
    edge: dict[str, Any] = {"address": "198.51.100.1", "forwarded": {"addr": "192.0.2.10", "helo": "mx.partner.example"}}
    assert words(said(inspected(**edge), already_accepted=True)) == ("pass", "none", "pass", "reject")
    assert words(said(inspected(**edge)))[0] == "pass"
    assert words(said(inspected(address="192.0.2.10", forwarded={"addr": "203.0.113.9"})))[0] == "fail"
    assert words(said(inspected(forwarded={"addr": "[UNAVAILABLE]"}))) == (None, "none", None, "reject")
    assert words(said(inspected(), already_accepted=True)) == (None, "none", None, "reject")
    assert words(said(inspected(signed()), already_accepted=True)) == (None, "pass", "pass", "reject")
    assert words(said(inspected(forwarded={"addr": "IPV6:2001:db8::1"})))[0] == "fail"


def test_the_null_sender_is_vouched_for_by_the_name_of_its_server() -> None:
    assert words(said(inspected(sender="", helo="partner.example")))[:3] == ("pass", "none", "pass")
    found = said(inspected(sender="", helo="[192.0.2.10]"))
    assert (found.spf, found.spf_domain) == ("none", "[192.0.2.10]")
