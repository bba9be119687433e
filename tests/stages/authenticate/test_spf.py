"""SPF of arriving mail (RFC 7208): each mechanism, the macros, the limits, and records that want too much."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.app.resolver import DnsResolver
from relay.authenticate.spf import MOST_LOOKUPS, spf
from relay.authenticate.spf_record import SpfError, record_of
from relay.model.authentication import Result
from tests.fakes.dns import FakeResolver
from tests.servers.nameserver import NameServer

FROM = "192.0.2.10"
SIX = "2001:db8::cb01"
WHO = "jan@partner.example"


def result(record: str | None, address: str = FROM, sender: str = WHO, helo: str = "mx.partner.example", **dns: Any) -> str:
    """For a record at the sender's domain; `texts`, `hosts`, `mx_records`, `names` and `failing` are the rest of DNS."""
    texts = {name: [text.encode()] for name, text in dns.pop("texts", {}).items()}
    if record is not None:
        texts["partner.example"] = [record.encode()]
    return str(asyncio.run(spf(address, sender, helo, FakeResolver(texts=texts, **dns)))[0])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "none"),
        ("v=spf10 -all", "none"),
        ("something else", "none"),
        ("v=spf1", "neutral"),
        ("V=SPF1 -ALL", "fail"),
        ("v=spf1 -all", "fail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1  all ", "pass"),
        ("v=spf1 ip4:192.0.2.10 -all", "pass"),
        ("v=spf1 ip4:192.0.2.0/28 -all", "pass"),
        ("v=spf1 ip4:192.0.2.0/29 -all", "fail"),
        ("v=spf1 ip4:0.0.0.0/0 -all", "pass"),
        ("v=spf1 ip6:::/0 -all", "fail"),
        ("v=spf1 -ip4:192.0.2.10 +all", "fail"),
        ("v=spf1 -all ip4:192.0.2.10", "fail"),
        ("v=spf1 future=%{d} -all", "fail"),
        ("v=spf1 exp=why.%{d} -all", "fail"),
    ],
)
def test_a_record_says_who_may_send(record: str | None, said: str) -> None:
    assert result(record) == said


@pytest.mark.parametrize(
    "term",
    [
        "mechanism", "include", "include:", "exists", "all:x", "all/8", "ip4", "ip4:1.2.3", "ip4:192.0.2.0/33", "ip4:192.0.2.0/08",
        "ip4:192.0.2.0/255.255.255.0", "ip4:192.0.2.0/", "ip6:192.0.2.1", "ip6:::1/129", "ip6:fe80::1%1", "a/33", "a/08", "a//129", "a:",
        "a:host", "a:host.123", "a:%{x}.example", "a:%{d0}.example", "a:%{d", "a:%d.example", "mx:/24", "ptr:", "-", "a b=%", "redirect=",
        "redirect=a.example redirect=b.example", "exp=a.example exp=b.example", "a:h\u00e9.example", "x=%{", "ptr/24", "include/24",
    ],
)  # fmt: skip
def test_what_is_no_term_spoils_the_whole_record(term: str) -> None:
    assert result(f"v=spf1 +all {term}") == "permerror"


def test_two_records_are_an_error() -> None:
    dns = FakeResolver(texts={"partner.example": [b"v=spf1 +all", b"v=spf1 +all"]})
    assert asyncio.run(spf(FROM, WHO, "x", dns))[0] is Result.PERMERROR


HOSTS = {"partner.example": [FROM, SIX], "mx1.partner.example": ["192.0.2.77", SIX], "far.example": ["203.0.113.5"]}


@pytest.mark.parametrize(
    ("term", "four", "six"),
    [
        ("a", "pass", "pass"),
        ("a:far.example", "fail", "fail"),
        ("a:far.example/1", "pass", "fail"),
        ("a:mx1.partner.example/24", "pass", "pass"),
        ("a:mx1.partner.example//64", "fail", "pass"),
        ("mx", "fail", "pass"),
        ("mx/24", "pass", "pass"),
        ("exists:far.example", "pass", "pass"),
        ("exists:no.example", "fail", "fail"),
        ("ip6:2001:db8::/32", "fail", "pass"),
        ("ptr", "pass", "fail"),
        ("ptr:mail.partner.example", "pass", "fail"),
        ("ptr:other.example", "fail", "fail"),
    ],
)
def test_addresses_of_names_and_names_of_addresses_count(term: str, four: str, six: str) -> None:
    dns: dict[str, Any] = {
        "hosts": {**HOSTS, "mail.partner.example": [FROM]},
        "mx_records": {"partner.example": [(10, "mx1.partner.example")]},
        "names": {FROM: ["liar.other.example", "mail.partner.example"]},
    }
    assert result(f"v=spf1 {term} -all", **dns) == four
    assert result(f"v=spf1 {term} -all", SIX, **dns) == six


@pytest.mark.parametrize("name", ["a:b.example", "a b%/c.example", "!$&'()*+,;<=>?@[]^_`{|}~.example"])
def test_a_name_may_hold_what_no_host_name_does(name: str) -> None:
    written = name.replace("%", "%%").replace(" ", "%_")
    assert result(f"v=spf1 a:{written} -all", hosts={name: [FROM]}) == "pass"

    async def ask() -> str:
        async with NameServer({}) as names:
            await DnsResolver([names.address], lifetime=1.0).addresses_of(name, 4)
            return names.asked[0][0]

    assert asyncio.run(ask()).replace("\\032", " ").replace("\\", "") == name.lower()


def test_an_ipv4_address_in_the_clothes_of_ipv6_is_one() -> None:
    assert result("v=spf1 ip4:192.0.2.10 -all", f"::ffff:{FROM}") == "pass"
    assert result("v=spf1 ip6:::ffff:c000:20a -all", f"::ffff:{FROM}") == "fail"


@pytest.mark.parametrize(
    ("inner", "said"),
    [("v=spf1 +all", "pass"), ("v=spf1 -all", "softfail"), ("v=spf1 ?all", "softfail"), (None, "permerror"), ("v=spf1 x", "permerror")],
)
def test_an_include_matches_where_the_other_passes(inner: str | None, said: str) -> None:
    texts = {"inner.example": inner} if inner else {}
    assert result("v=spf1 include:inner.example ~all", texts=texts) == said


def test_a_redirect_takes_the_place_of_what_does_not_match() -> None:
    texts = {"other.example": "v=spf1 ip4:192.0.2.10 -all"}
    assert result("v=spf1 redirect=other.example", texts=texts) == "pass"
    assert result("v=spf1 redirect=other.example ?all", texts=texts) == "neutral"
    assert result("v=spf1 redirect=nowhere.example") == "permerror"


@pytest.mark.parametrize(
    ("macro", "name"),
    [
        # RFC 7208 §7.4
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}.x", "com.x"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}.x", "strong-bad.x"),
        ("%{l-}.x", "strong.bad.x"),
        ("%{lr}.x", "strong-bad.x"),
        ("%{lr-}.x", "bad.strong.x"),
        ("%{l1r-}.x", "strong.x"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("a%-b%%c.x", "a%20b%c.x"),
        ("%{S}.x", "strong-bad%40email.example.com.x"),
        ("%{h}", "mx.example.org"),
        ("%{p}.x", "unknown.x"),
    ],
)
def test_macros_expand_as_the_standard_shows(macro: str, name: str) -> None:
    dns = FakeResolver(texts={"email.example.com": [f"v=spf1 exists:{macro} -all".encode()]}, hosts={name: ["127.0.0.2"]})
    said = asyncio.run(spf("192.0.2.3", "strong-bad@email.example.com", "mx.example.org", dns))
    assert said[0] is Result.PASS, dns.asked


def test_an_ipv6_address_expands_to_nibbles_and_long_names_lose_their_left() -> None:
    nibbles = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    dns = FakeResolver(texts={"partner.example": [b"v=spf1 exists:%{ir}.%{v}.x -all"]}, hosts={f"{nibbles}.ip6.x": ["127.0.0.2"]})
    assert asyncio.run(spf(SIX, WHO, "x", dns))[0] is Result.PASS
    long = FakeResolver(texts={"partner.example": [b"v=spf1 exists:%{l}.%{l}.%{l}.%{l}.%{l}.x.example -all"]})
    asyncio.run(spf(FROM, f"{'y' * 60}@partner.example", "x", long))
    assert [name for kind, name in long.asked if kind == "A"] == [".".join(["y" * 60] * 4 + ["x.example"])]


def test_the_null_sender_is_postmaster_at_the_name_of_the_client() -> None:
    texts = {"mx.partner.example": "v=spf1 exists:%{l}.%{o} -all"}
    assert result(None, sender="", texts=texts, hosts={"postmaster.mx.partner.example": ["127.0.0.2"]}) == "pass"
    assert result(None, sender="", helo="[192.0.2.10]") == "none"
    assert result(None, sender="", helo="localhost") == "none"


@pytest.mark.parametrize(
    "sender", ["a@single", "a@", "a@.example", "a@a..example", f"a@{'x' * 64}.example", "a@[192.0.2.1]", "a@h\u00e9.example"]
)
def test_a_domain_that_can_not_be_asked_has_no_record(sender: str) -> None:
    assert result(None, sender=sender) == "none"


def test_more_than_ten_questions_are_an_error() -> None:
    def chain(count: int) -> dict[str, str]:
        return {f"s{number}.example": f"v=spf1 include:s{number + 1}.example ?all" for number in range(count)} | {
            f"s{count}.example": "v=spf1 +all"
        }

    assert result("v=spf1 include:s0.example -all", texts=chain(MOST_LOOKUPS - 1)) == "pass"
    assert result("v=spf1 include:s0.example -all", texts=chain(MOST_LOOKUPS)) == "permerror"
    wide = " ".join(["exists:far.example"] * 11)
    assert result(f"v=spf1 {wide.replace('exists', '-exists')} +all", hosts=HOSTS) == "fail"
    assert result(f"v=spf1 {'a:far.example ' * 10}+all", hosts=HOSTS) == "pass"
    assert result(f"v=spf1 {'a:far.example ' * 11}+all", hosts=HOSTS) == "permerror"


def test_a_record_that_includes_itself_ends() -> None:
    assert result("v=spf1 include:partner.example -all") == "permerror"
    assert result("v=spf1 redirect=partner.example") == "permerror"
    texts = {"a.example": "v=spf1 include:b.example", "b.example": "v=spf1 include:a.example"}
    assert result("v=spf1 include:a.example", texts=texts) == "permerror"


def test_names_that_hold_nothing_are_asked_for_twice_at_most() -> None:
    assert result("v=spf1 a:n1.example a:n2.example +all") == "pass"
    assert result("v=spf1 a:n1.example a:n2.example a:n3.example +all") == "permerror"
    assert result("v=spf1 exists:n1.example mx:n2.example a:n3.example +all") == "permerror"


def test_more_than_ten_mail_exchangers_are_an_error() -> None:
    many = {"partner.example": [(10, f"mx{number}.example") for number in range(11)]}
    assert result("v=spf1 mx -all", mx_records=many) == "permerror"


@pytest.mark.parametrize("term", ["include:bad.example", "a:bad.example", "mx:bad.example", "exists:bad.example", "redirect=bad.example"])
def test_dns_that_fails_is_a_temporary_error(term: str) -> None:
    assert result(f"v=spf1 {term}", failing={"bad.example"}) == "temperror"
    assert result(None, failing={"partner.example"}) == "temperror"


def test_a_failing_reverse_lookup_is_just_no_match() -> None:
    assert result("v=spf1 ptr -all", failing={FROM}) == "fail"


def test_a_real_name_server_is_asked() -> None:
    records = {
        ("partner.example", "TXT"): ['"v=spf1 include:sp" "lit.example -all"'],
        ("split.example", "TXT"): ['"v=spf1 mx ptr -all"'],
        ("split.example", "MX"): ["10 mx.split.example."],
        ("mx.split.example", "A"): ["192.0.2.10"],
        ("mx.split.example", "AAAA"): [SIX],
        ("11.2.0.192.in-addr.arpa", "PTR"): ["Mail.Split.example."],
        ("mail.split.example", "A"): ["192.0.2.11"],
    }

    async def ask() -> list[str]:
        async with NameServer(records) as names:
            dns = DnsResolver([names.address], lifetime=1.0)
            return [(await spf(address, WHO, "x", dns))[0].value for address in ("192.0.2.10", SIX, "192.0.2.11", "192.0.2.12")]

    assert asyncio.run(ask()) == ["pass", "pass", "pass", "fail"]


@given(some.binary(max_size=80) | some.text("v=spf1 aml:/%{dirs}.-+~?0124", max_size=60).map(str.encode))
def test_whatever_a_record_says_there_is_an_answer(octets: bytes) -> None:
    with contextlib.suppress(SpfError):
        record_of([b"v=spf1 " + octets])
    dns = FakeResolver(texts={"partner.example": [b"v=spf1 " + octets]})
    assert asyncio.run(spf(FROM, WHO, "x.example", dns))[0] in Result
    assert len(dns.asked) < 150
