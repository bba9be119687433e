"""The DNS adapter against a real server on loopback."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from relay.app.resolver import DnsResolver
from relay.model.errors import ConfigurationError
from relay.model.ports import MailExchanger, ResolverTemporaryError
from tests.servers.nameserver import NameServer, Records

Result = TypeVar("Result")
RECORDS: Records = {
    ("a.example", "MX"): ["10 mx1.a.example.", "20 MX2.a.example."],
    ("null.example", "MX"): ["0 ."],
    ("host.example", "A"): ["192.0.2.1", "192.0.2.2"],
    ("host.example", "AAAA"): ["2001:db8::1"],
    ("four.example", "A"): ["192.0.2.4"],
    ("www.example", "CNAME"): ["host.example."],
    ("loop.example", "CNAME"): ["loop2.example."],
    ("key.example", "TXT"): ['"v=DKIM1; p=" "abc"', '"other"'],
    ("empty.example", "TXT"): ['""'],
}


def ask(question: Callable[[DnsResolver], Awaitable[Result]], lifetime: float = 20.0, **server: object) -> Result:
    async def dialogue() -> Result:
        async with NameServer(RECORDS, **server) as names:  # type: ignore[arg-type]
            return await question(DnsResolver([names.address], lifetime))

    return asyncio.run(dialogue())


def test_mail_exchangers_are_found() -> None:
    assert set(ask(lambda resolver: resolver.mx("a.example"))) == {MailExchanger(10, "mx1.a.example"), MailExchanger(20, "mx2.a.example")}


def test_a_null_mx_has_an_empty_host() -> None:
    assert list(ask(lambda resolver: resolver.mx("null.example"))) == [MailExchanger(0, "")]


def test_ipv6_comes_before_ipv4() -> None:
    assert ask(lambda resolver: resolver.addresses("host.example"))[0] == "2001:db8::1"
    assert set(ask(lambda resolver: resolver.addresses("host.example"))) == {"2001:db8::1", "192.0.2.1", "192.0.2.2"}


def test_an_alias_leads_to_the_addresses_of_its_target() -> None:
    assert set(ask(lambda resolver: resolver.addresses("www.example"))) == {"2001:db8::1", "192.0.2.1", "192.0.2.2"}


def test_strings_of_one_record_are_joined_and_records_are_not() -> None:
    assert set(ask(lambda resolver: resolver.txt("key.example"))) == {b"v=DKIM1; p=abc", b"other"}


@pytest.mark.parametrize("name", ["nowhere.example", "empty.example", "a..example", "x" * 70 + ".example", ".".join(["y" * 60] * 6)])
def test_no_name_or_no_records_is_an_empty_answer(name: str) -> None:
    assert list(ask(lambda resolver: resolver.mx(name))) == []
    assert list(ask(lambda resolver: resolver.addresses(name))) == []


@pytest.mark.parametrize("how", ["failing", "silent"])
def test_a_server_that_fails_is_an_unknown_and_never_an_empty_answer(how: str) -> None:
    for question in (
        lambda resolver: resolver.mx("a.example"),
        lambda resolver: resolver.addresses("a.example"),
        lambda resolver: resolver.txt("a.example"),
    ):
        with pytest.raises(ResolverTemporaryError):
            ask(question, 0.5, **{how: {"a.example"}})


def test_no_server_at_all_is_an_unknown() -> None:
    async def dialogue() -> None:
        await DnsResolver(["127.0.0.1:1"], lifetime=0.5).mx("a.example")

    with pytest.raises(ResolverTemporaryError):
        asyncio.run(dialogue())


def test_a_large_answer_comes_over_tcp() -> None:
    assert len(ask(lambda resolver: resolver.txt("key.example"), limit=20)) == 2


def test_localhost_is_never_asked_of_dns() -> None:
    assert ask(lambda resolver: resolver.addresses("LocalHost."), failing={"localhost"}) == ("::1", "127.0.0.1")


def test_an_answer_is_kept_for_its_time_to_live() -> None:
    async def dialogue() -> None:
        async with NameServer(RECORDS) as names:
            resolver = DnsResolver([names.address])
            for _ in range(3):
                await resolver.mx("a.example")
            assert names.asked == [("a.example", "MX")]

    asyncio.run(dialogue())


@pytest.mark.parametrize("server", ["nonsense", "127.0.0.1", ""])
def test_a_name_server_that_is_no_address_and_port_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError):
        DnsResolver([server])
