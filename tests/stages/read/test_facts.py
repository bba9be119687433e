"""Header facts: who it is from, whatever the header looks like; text is decoded and harmless; what claims our name is found exactly."""

import pytest

from relay.model.features import Header
from relay.read import read
from relay.read.limits import ReadLimits

OURS = "relay.example.nl"


def facts(header: str, body: str = "x") -> Header:
    return read((header + "\n" + body).replace("\n", "\r\n").encode("utf-8", "surrogateescape"), ReadLimits(), OURS).header


@pytest.mark.parametrize(
    ("value", "addresses", "display"),
    [
        ("jan@example.nl", ("jan@example.nl",), ""),
        ("Jan <Jan@Example.NL>", ("jan@example.nl",), "Jan"),
        ('"de Vries, Jan" <jan@example.nl>', ("jan@example.nl",), "de Vries, Jan"),
        ('"a \\"b\\" c" <jan@example.nl>', ("jan@example.nl",), 'a "b" c'),
        ("jan@example.nl (Jan (de) Vries)", ("jan@example.nl",), ""),
        ("=?utf-8?q?J=C3=A4n?= <jan@example.nl>", ("jan@example.nl",), "Jän"),
        ("Jän <jän@exämple.nl>", ("jän@xn--exmple-cua.nl",), "Jän"),
        ("a@example.nl, B <b@example.nl>", ("a@example.nl", "b@example.nl"), ""),
        ("Group: a@example.nl, b@example.nl;", ("a@example.nl", "b@example.nl"), ""),
        ('"a b"@example.nl', ("a b@example.nl",), ""),
        ("a@[192.0.2.1]", ("a@[192.0.2.1]",), ""),
        ("J\udce4n <jan@example.nl>", ("jan@example.nl",), "Jän"),
        ("jan\n <jan@example.nl>", ("jan@example.nl",), "jan"),
    ],
)
def test_the_addresses_of_from_are_read(value: str, addresses: tuple[str, ...], display: str) -> None:
    found = facts(f"From: {value}\n")
    assert (found.from_addresses, found.from_fields, found.from_display) == (addresses, 1, display)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "jan",
        "jan@",
        "@example.nl",
        "<>",
        "Group:;",
        "undisclosed-recipients:;",
        "Jan <jan@example.nl",
        "Jan jan@example.nl>",
        "jan@example.nl <piet@example.nl> x",
        "jan@example.nl piet@example.nl",
        "<jan@example.nl> <piet@example.nl>",
        "jan@example.nl@partner.example",
        "<@relay.example:jan@example.nl>",
        "jan@example.nl\x00@partner.example",
        "jan@example.nl\udcff",
        '"jan@example.nl',
        "(jan@example.nl",
        "a@example.nl, not an address",
        "Group: Group: a@example.nl;;",
        "a@example.nl;",
        "a." + "b." * 40_000 + "@example.nl",
        "<" * 50_000,
        "<:" * 30_000,
        "(" * 60_000,
    ],
)
def test_a_from_that_is_no_address_list_gives_a_field_and_no_address(value: str) -> None:
    found = facts(f"From: {value}\n")
    assert (found.from_addresses, found.from_fields) == ((), 1)


def test_no_from_is_no_field() -> None:
    assert (facts("Subject: x\n").from_addresses, facts("Subject: x\n").from_fields) == ((), 0)


def test_several_from_fields_are_counted_and_all_their_addresses_known() -> None:
    found = facts("From: a@example.nl\nSubject: x\nFROM: b@partner.example\n")
    assert (found.from_addresses, found.from_fields) == (("a@example.nl", "b@partner.example"), 2)


def test_one_of_several_from_fields_that_cannot_be_read_makes_all_of_it_unreadable() -> None:
    found = facts("From: a@example.nl\nFrom: nobody\n")
    assert (found.from_addresses, found.from_fields) == ((), 2)


def test_a_from_with_a_space_before_the_colon_is_counted_too() -> None:
    assert facts("From: a@example.nl\nFrom : b@partner.example\n").from_fields == 2


def test_a_from_in_the_body_or_in_another_field_is_none() -> None:
    assert facts("X: y\n From: a@example.nl\n", "From: b@example.nl\n").from_fields == 0


def test_sender_recipients_and_the_rest_are_known() -> None:
    found = facts(
        "From: a@example.nl\nSender: S <s@example.nl>\nTo: T <t@x.example>, u@x.example\nCc: group: v@x.example;\n"
        "Message-ID: <1@example.nl>\nDate: Mon, 23 Nov 2026 10:00:00 +0100\nAuto-Submitted: Auto-Replied\nReceived: x\nReceived: y\n"
    )
    assert found.sender == "s@example.nl"
    assert found.to == ("t@x.example", "u@x.example", "v@x.example")
    assert (found.message_id, found.auto_submitted, found.received) == ("<1@example.nl>", "auto-replied", 2)
    assert found.date == "Mon, 23 Nov 2026 10:00:00 +0100"
    assert not found.eight_bit


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Hoi", "Hoi"),
        ("=?utf-8?q?be=C3=ABdiging?=", "beëdiging"),
        ("=?utf-8?b?YmXDq2RpZ2luZw==?= =?utf-8?b?IDI=?=", "beëdiging 2"),
        ("=?iso-8859-1?q?=EB?= en =?utf-8?q?=C3=AB?=", "ë en ë"),
        ("beëdiging", "beëdiging"),
        ("be\udcebdiging", "beëdiging"),
        ("=?utf-8?b?A?=", "=?utf-8?b?A?="),
        ("=?x-none?q?a?=", "=?x-none?q?a?="),
        ("=?utf-8?q?=FF?=", "\ufffd"),
        ("a\n b", "a b"),
        ("=?utf-8?q?a=0D=0AX:_b?=", "a\\u000d\\u000aX: b"),
        ("=?utf-8?q?=1B[2J?=", "\\u001b[2J"),
        ("a\u202eb", "a\\u202eb"),
    ],
)
def test_a_subject_is_decoded_and_has_no_control_characters(written: str, shown: str) -> None:
    assert facts(f"From: a@example.nl\nSubject: {written}\n").subject == shown


def test_every_text_is_printable_and_bounded_whatever_stands_in_the_header() -> None:
    controls = "".join(chr(code) for code in range(1, 32) if code not in (10, 13)) + "\x7f\u2028\u202e"
    found = facts("".join(f"{name}: {controls}{'x' * 5000}\n" for name in ("Subject", "Message-ID", "Date", "Auto-Submitted", "Sender")))
    for text in (found.subject, found.message_id, found.date, found.auto_submitted, found.sender):
        assert text == "" or text.isprintable()
        assert len(text) <= 8000


@pytest.mark.parametrize(
    "value",
    [
        "relay.example.nl; spf=pass",
        "RELAY.Example.NL; none",
        "relay.example.nl 1; none",
        "(comment) relay.example.nl; none",
        "(a (nested) one) relay.example.nl (x); none",
        '"relay.example.nl"; none',
        "\n relay.example.nl; none",
        "relay.example.nl.; none",
        "",
        "(never closed relay.example.nl",
    ],
)
def test_authentication_results_in_our_name_are_found_by_their_octets(value: str) -> None:
    raw = f"From: a@example.nl\nAuthentication-Results: {value}\nSubject: x\n\nbody".replace("\n", "\r\n").encode()
    ((start, end),) = read(raw, ReadLimits(), OURS).header.forged_results
    assert raw[:start] + raw[end:] == b"From: a@example.nl\r\nSubject: x\r\n\r\nbody"


@pytest.mark.parametrize("value", ["mx.partner.example; spf=pass", "relay.example.nl.evil.example; none", "other; relay.example.nl"])
def test_authentication_results_of_others_stay(value: str) -> None:
    assert facts(f"From: a@example.nl\nAuthentication-Results: {value}\n").forged_results == ()


def test_forged_results_are_found_in_a_header_that_is_ambiguous_too() -> None:
    raw = b"From: a@example.nl\r\nno field\r\nAuthentication-Results : relay.example.nl; dkim=pass\r\nX: y\r\n\r\n"
    result = read(raw, ReadLimits(), OURS)
    ((start, end),) = result.header.forged_results
    assert raw[start:end] == b"Authentication-Results : relay.example.nl; dkim=pass\r\n"
