"""Who may send as whom, in the envelope and in the header From."""

import pytest

from relay.model.client import Side
from relay.model.features import Header
from relay.policy.models import Client, Policy, SenderRule
from relay.receive.senders import authorised, header_findings, is_ours, loop_findings, may_send_as
from tests.fakes.custody import mailbox
from tests.stages.decide.cases import policy

INSIDE = Client(name="exchange", side=Side.INSIDE, logins=("desk",), may_send_as=("example.nl",))
POLICY = policy(senders=(SenderRule(login="desk", may_send_as=("press@partner.example",)),))


def outside(*patterns: str) -> Client:
    return Client(name="internet", side=Side.OUTSIDE, may_send_as=patterns)


def header(*addresses: str, fields: int = 1) -> Header:
    return Header(from_addresses=addresses, from_fields=fields, size=100)


def names(given: Header, client: Client = INSIDE, login: str | None = None, under: Policy = POLICY) -> list[str]:
    return [finding.name for finding in header_findings(given, client, login, under)]


@pytest.mark.parametrize(
    ("domain", "ours"),
    [("example.nl", True), ("EXAMPLE.nl", True), ("example.nl.", True), ("sub.example.nl", False), ("partner.example", False), ("", False)],
)
def test_what_is_ours_is_what_policy_says(domain: str, ours: bool) -> None:
    assert is_ours(domain, POLICY) is ours


@pytest.mark.parametrize(("login", "allowed"), [("desk", True), ("other", False), (None, False)])
def test_a_login_may_have_more_addresses_than_its_client(login: str | None, allowed: bool) -> None:
    assert may_send_as(INSIDE, login, "press@partner.example", POLICY) is allowed
    assert may_send_as(INSIDE, login, "jan@example.nl", POLICY)


@pytest.mark.parametrize(
    ("patterns", "address", "allowed"),
    [
        (("*",), "piet@partner.example", True),
        (("*",), "jan@example.nl", False),
        ((".nl",), "jan@example.nl", False),
        ((".nl",), "jan@other.nl", True),
        (("*", "news@example.nl"), "news@example.nl", True),
        (("*", "news@example.nl"), "jan@example.nl", False),
        (("*", "example.nl"), "jan@example.nl", True),
    ],
)
def test_from_outside_our_domains_are_named_to_the_letter(patterns: tuple[str, ...], address: str, allowed: bool) -> None:
    assert may_send_as(outside(*patterns), None, address, POLICY) is allowed


def test_from_outside_a_pattern_that_means_nobody_but_us_is_to_the_letter_too() -> None:
    organisation = POLICY.organisation.model_copy(update={"domains": (".example.nl",)})
    below = POLICY.model_copy(update={"organisation": organisation})

    assert may_send_as(outside(".example.nl"), None, "jan@sub.example.nl", below)
    assert may_send_as(outside(".sub.example.nl"), None, "jan@a.sub.example.nl", below)
    assert not may_send_as(outside(".nl"), None, "jan@sub.example.nl", below)


def test_from_inside_a_star_is_a_star() -> None:
    assert may_send_as(INSIDE.model_copy(update={"may_send_as": ("*",)}), None, "jan@example.nl", POLICY)


def test_a_client_without_addresses_sends_as_nobody_but_the_empty_reverse_path() -> None:
    nobody = Client(name="x", side=Side.INSIDE)

    assert not authorised(nobody, None, mailbox("jan@example.nl"), POLICY)
    assert authorised(nobody, None, None, POLICY)
    assert not authorised(nobody.model_copy(update={"may_send_null": False}), None, None, POLICY)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (header("jan@example.nl"), []),
        (header(fields=0), ["from-missing"]),
        (header("jan@example.nl", "jan@example.nl", fields=2), ["from-several"]),
        (header("jan@example.nl", "anna@example.nl"), ["from-several"]),
        (header(), ["from-unparsable"]),
        (header("piet@partner.example"), ["from-not-allowed"]),
    ],
)
def test_a_header_names_one_author_and_one_that_the_client_may_be(given: Header, found: list[str]) -> None:
    assert names(given) == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (header("piet@partner.example"), []),
        (header(fields=0), ["from-missing"]),
        (header("a@x.example", "b@x.example"), ["from-several"]),
        (header(), ["from-unparsable"]),
    ],
)
def test_a_client_that_forwards_may_bring_a_foreign_author_but_no_strange_header(given: Header, found: list[str]) -> None:
    assert names(given, INSIDE.model_copy(update={"forwards": True})) == found


def test_a_login_may_write_as_whom_it_may_send_as() -> None:
    assert names(header("press@partner.example"), login="desk") == []
    assert names(header("press@partner.example")) == ["from-not-allowed"]


def test_a_header_from_outside_in_our_name_is_forged() -> None:
    assert names(header("jan@example.nl"), outside("*")) == ["from-not-allowed"]
    assert names(header("piet@partner.example"), outside("*")) == []


@pytest.mark.parametrize(("received", "found"), [(50, []), (51, ["mail-loop"])])
def test_a_message_that_runs_in_a_circle_is_found(received: int, found: list[str]) -> None:
    assert [finding.name for finding in loop_findings(Header(received=received), 50)] == found
