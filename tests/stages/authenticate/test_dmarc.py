"""DMARC of arriving mail (RFC 9989): whose record counts, what is aligned, what the domain asks for, and what is not known."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.authenticate.dmarc import dmarc
from relay.authenticate.dmarc_record import MOST_QUESTIONS, Tree, record_of, walk
from relay.model.authentication import Result, SignatureResult
from tests.fakes.dns import FakeResolver

REJECT = "v=DMARC1; p=reject"
NO_SPF = (Result.NONE, "")


def dns_of(records: dict[str, str], **more: Any) -> FakeResolver:
    return FakeResolver(texts={f"_dmarc.{name}": [text.encode()] for name, text in records.items()}, **more)


def said(
    domain: str,
    records: dict[str, str],
    spf: tuple[Result | None, str] = NO_SPF,
    signed: tuple[tuple[str, Result], ...] = (),
    **more: Any,
) -> tuple[str | None, str]:
    signatures = [SignatureResult(name, "s", result) for name, result in signed]
    result, policy = asyncio.run(dmarc(domain, spf, signatures, dns_of(records, **more)))
    return (result.value if result else None), policy


def test_a_domain_without_a_record_asks_nothing() -> None:
    assert said("partner.example", {}) == ("none", "")
    assert said("partner.example", {"partner.example": "v=DMARC2; p=reject"}) == ("none", "")
    assert said("partner.example", {"partner.example": "p=reject"}) == ("none", "")


def test_what_nothing_vouches_for_fails_with_what_the_domain_asks() -> None:
    assert said("partner.example", {"partner.example": REJECT}) == ("fail", "reject")
    assert said("partner.example", {"partner.example": "v=DMARC1;p=none"}) == ("fail", "none")
    assert said("partner.example", {"partner.example": "v = DMARC1 ; P=x; p = Quarantine"}) == ("fail", "quarantine")


@pytest.mark.parametrize("text", ["v=DMARC1", "v=DMARC1; p=what", "v=DMARC1; rua=mailto:a@b"])
def test_a_record_without_a_policy_asks_for_none(text: str) -> None:
    assert said("partner.example", {"partner.example": text}) == ("fail", "none")


@pytest.mark.parametrize(
    ("domain", "strict", "relaxed"),
    [
        ("partner.example", "pass", "pass"),
        ("mail.partner.example", "fail", "pass"),
        ("example", "fail", "fail"),
        ("other.example", "fail", "fail"),
        ("partner.test", "fail", "fail"),
        ("notpartner.example", "fail", "fail"),
    ],
)
def test_what_is_good_must_be_of_the_domain_in_from(domain: str, strict: str, relaxed: str) -> None:
    for tags, expected in (("; adkim=s; aspf=s", strict), ("", relaxed)):
        records = {"partner.example": REJECT + tags}
        assert said("partner.example", records, spf=(Result.PASS, domain))[0] == expected
        assert said("partner.example", records, signed=((domain, Result.PASS),))[0] == expected


@pytest.mark.parametrize("word", [word for word in Result if word not in (Result.PASS, Result.TEMPERROR)])
def test_nothing_but_pass_passes(word: Result) -> None:
    assert said("partner.example", {"partner.example": REJECT}, (word, "partner.example"), (("partner.example", word),))[0] == "fail"


def test_one_that_is_good_is_enough() -> None:
    signed = (("partner.example", Result.FAIL), ("other.example", Result.PASS), ("partner.example", Result.PASS))
    assert said("partner.example", {"partner.example": REJECT}, (Result.TEMPERROR, "partner.example"), signed)[0] == "pass"


def test_what_could_still_be_good_is_no_failure() -> None:
    records = {"partner.example": REJECT}
    assert said("partner.example", records, (Result.TEMPERROR, "partner.example")) == ("temperror", "reject")
    assert said("partner.example", records, signed=(("partner.example", Result.TEMPERROR),))[0] == "temperror"
    assert said("partner.example", records, (Result.TEMPERROR, "other.example"))[0] == "fail", "it could not be aligned"
    assert said("partner.example", records, failing={"_dmarc.partner.example"}) == ("temperror", "")


def test_without_an_address_only_a_signature_can_tell() -> None:
    records = {"partner.example": REJECT}
    assert said("partner.example", records, (None, "")) == (None, "reject")
    assert said("partner.example", records, (None, ""), (("partner.example", Result.PASS),))[0] == "pass"


def test_below_a_domain_its_other_words_count() -> None:
    records = {"partner.example": "v=DMARC1; p=reject; sp=quarantine; np=none"}
    assert said("unit.partner.example", records, hosts={"unit.partner.example": ["192.0.2.1"]})[1] == "quarantine"
    assert said("ghost.partner.example", records)[1] == "none"
    assert said("a.b.partner.example", {"partner.example": REJECT})[1] == "reject"
    assert said("unit.partner.example", {**records, "unit.partner.example": "v=DMARC1; p=reject"})[1] == "reject"


def test_a_domain_that_only_tests_asks_for_one_step_less() -> None:
    steps = {"reject": "quarantine", "quarantine": "none", "none": "none"}
    assert {word: said("a.example", {"a.example": f"v=DMARC1; p={word}; t=y"})[1] for word in steps} == steps


def organisational(domain: str, records: dict[str, str]) -> str:
    return asyncio.run(Tree(dns_of(records)).organisational(domain))


def test_the_organisational_domain_is_the_highest_with_a_record_or_what_a_record_says() -> None:
    here = {"partner.example": REJECT, "unit.partner.example": REJECT}
    assert organisational("a.unit.partner.example", here) == "partner.example"
    assert organisational("a.unit.partner.example", {**here, "unit.partner.example": f"{REJECT}; psd=n"}) == "unit.partner.example"
    assert organisational("a.unit.partner.example", {"partner.example": f"{REJECT}; psd=y"}) == "unit.partner.example"
    assert organisational("partner.example", {"partner.example": f"{REJECT}; psd=y"}) == "partner.example"
    assert organisational("a.b.example", {}) == "a.b.example"


def test_two_that_share_a_public_suffix_are_not_one() -> None:
    records = {"gov.example": f"{REJECT}; psd=y"}
    assert said("police.gov.example", records, (Result.PASS, "court.gov.example")) == ("fail", "reject")
    assert said("police.gov.example", records, (Result.PASS, "mail.police.gov.example"))[0] == "pass"


def test_a_long_name_is_asked_in_eight_questions() -> None:
    name = ".".join(f"l{number}" for number in range(40)) + ".example"
    assert len(walk(name)) == MOST_QUESTIONS
    assert walk("a.b.c.d.e.f.g.h.i.j.mail.example.com")[:2] == ["a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com"]
    assert walk("mail.example.com") == ["mail.example.com", "example.com", "com"]
    dns = dns_of({})
    asyncio.run(dmarc(name, (Result.PASS, f"x.{name}"), [], dns))
    assert len(dns.asked) == len(set(dns.asked)) <= MOST_QUESTIONS


def test_two_records_at_one_name_are_none() -> None:
    dns = FakeResolver(texts={"_dmarc.a.example": [REJECT.encode(), REJECT.encode()]})
    assert asyncio.run(dmarc("a.example", NO_SPF, [], dns)) == (Result.NONE, "")


@given(some.binary(max_size=60) | some.text("psdtn=yr; adkimf", max_size=60).map(str.encode))
def test_whatever_a_record_says_there_is_an_answer(octets: bytes) -> None:
    record = record_of(b"v=DMARC1;" + octets, "a.example")
    assert record is None or record.p in ("none", "quarantine", "reject")
