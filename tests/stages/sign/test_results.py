"""The Authentication-Results field in front of mail from outside (RFC 8601)."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some

from relay.model.authentication import Authentication, Result, SignatureResult
from relay.model.features import Header, Inspection
from relay.sign.header_block import fields
from relay.sign.results import results_field
from relay.sign.signer import Signer
from tests.fakes.custody import MemoryBody, claimed, stored
from tests.stages.sign.keys import policy

FOUND = Authentication(
    Result.SOFTFAIL, Result.PASS, Result.FAIL, "reject", "bounce.partner.example", "partner.example",
    (SignatureResult("other.example", "s1", Result.PASS), SignatureResult("", "", Result.PERMERROR)),
)  # fmt: skip


def test_what_was_verified_is_said_with_the_domains_that_it_is_about() -> None:
    assert results_field(FOUND, False, "relay.example.nl").decode() == (
        "Authentication-Results: relay.example.nl;\r\n"
        "\tspf=softfail smtp.mailfrom=bounce.partner.example;\r\n"
        "\tdkim=pass header.d=other.example header.s=s1;\r\n"
        "\tdkim=permerror;\r\n"
        "\tdmarc=fail (p=reject) header.from=partner.example\r\n"
    )


def test_of_the_null_sender_the_name_of_the_client_was_asked() -> None:
    assert b"spf=none smtp.helo=mx.partner.example" in results_field(Authentication(spf_domain="mx.partner.example"), True, "r.example")


def test_what_is_not_known_is_not_said() -> None:
    assert results_field(None, False, "r.example") == b""
    assert results_field(Authentication(None, dmarc=None), False, "r.example") == b"Authentication-Results: r.example;\r\n\tdkim=none\r\n"


def test_it_stands_in_front_of_our_received_field_and_only_where_something_was_verified(tmp_path: Path) -> None:
    for found, expected in ((FOUND, [b"Authentication-Results", b"Received"]), (None, [b"Received"])):
        inspection = Inspection(Header(from_addresses=("a@partner.example",), from_fields=1, size=10), authentication=found)
        message = stored(b"From: a@partner.example\r\n\r\n", inspection=inspection, authorised=False)
        signed = Signer(tmp_path).sign(claimed(message), policy(), MemoryBody(b"From: a@partner.example\r\n\r\n"), "relay.example.nl", 0)
        assert [name for name, _ in fields(signed.prefix)] == expected


@given(some.text(max_size=300), some.text(max_size=80))
def test_whatever_a_sender_calls_itself_it_is_one_field(domain: str, selector: str) -> None:
    found = Authentication(
        spf_domain=domain, from_domain=domain, policy="reject", signatures=(SignatureResult(domain, selector, Result.PASS),)
    )
    [(name, value)] = fields(results_field(found, False, "relay.example.nl"))
    assert name == b"Authentication-Results"
    assert value.count(b";") == 3
    assert max(len(line) for line in value.split(b"\r\n")) < 998
