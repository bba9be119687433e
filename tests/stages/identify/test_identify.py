"""Which client is this: a login counts before a certificate, a certificate before an address, the narrowest range before a wider one."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.identify import identify
from relay.model.client import Peer, Side, Tls
from relay.policy.models import Client
from tests.fakes.custody import PEER
from tests.stages.decide.cases import policy

PRINT = "ab" * 32


def client(name: str, side: str = "inside", **identities: Any) -> Client:
    values = {key: list(value) for key, value in identities.items()}
    return Client.model_validate({"name": name, "side": Side(side), **{key: tuple(value) for key, value in values.items()}})


CLIENTS = (
    client("wide", addresses=["192.0.2.0/24", "2001:db8::/32"]),
    client("narrow", addresses=["192.0.2.8/29", "2001:db8:1::/64"]),
    client("one", addresses=["192.0.2.10/32"]),
    client("certified", certificates=[f"sha256:{PRINT.upper()}", "Mail.Example.NL"]),
    client("desk", logins=["desk"]),
    client("world", "outside", addresses=["0.0.0.0/0", "::/0"], logins=["abroad"]),
)
POLICY = policy(clients=CLIENTS)


def peer(address: str = "198.51.100.1", *, side: Side = Side.INSIDE, **changes: Any) -> Peer:
    return replace(PEER, address=address, side=side, tls=None, **changes)


def name(given_peer: Peer) -> str | None:
    found = identify(given_peer, POLICY)
    return found.name if found else None


def certified(*names: str, sha256: str | None = None) -> Tls:
    return Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", sha256, names)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.200", "wide"),
        ("192.0.2.9", "narrow"),
        ("192.0.2.10", "one"),
        ("2001:db8:2::1", "wide"),
        ("2001:db8:1::1", "narrow"),
        ("::ffff:192.0.2.10", "one"),
        ("198.51.100.1", None),
        ("2001:db9::1", None),
    ],
)
def test_the_narrowest_address_range_counts(address: str, expected: str | None) -> None:
    assert name(peer(address)) == expected


def test_the_order_of_clients_means_nothing() -> None:
    turned = policy(clients=CLIENTS[::-1])

    for address in ("192.0.2.200", "192.0.2.9", "192.0.2.10"):
        assert identify(peer(address), turned) == identify(peer(address), POLICY)


@pytest.mark.parametrize("tls", [certified(sha256=PRINT), certified("mail.example.nl"), certified("x.nl", "MAIL.example.nl")])
def test_a_certificate_counts_before_an_address(tls: Tls) -> None:
    assert name(replace(peer("192.0.2.10"), tls=tls)) == "certified"


@pytest.mark.parametrize("tls", [certified(), certified("other.nl"), certified(sha256="cd" * 32), certified(f"sha256:{PRINT}x")])
def test_a_certificate_that_policy_does_not_know_leaves_the_address(tls: Tls) -> None:
    assert name(replace(peer("192.0.2.10"), tls=tls)) == "one"


def test_a_login_counts_before_a_certificate() -> None:
    assert name(replace(peer("192.0.2.10"), tls=certified(sha256=PRINT), login="desk")) == "desk"


@pytest.mark.parametrize("login", ["stranger", "Desk", "abroad", ""])
def test_a_login_that_belongs_to_no_client_on_this_side_is_nobody_wherever_it_comes_from(login: str) -> None:
    assert name(replace(peer("192.0.2.10"), tls=certified(sha256=PRINT), login=login)) is None


def test_each_side_has_its_own_clients() -> None:
    assert name(peer("192.0.2.10", side=Side.OUTSIDE)) == "world"
    assert name(peer("198.51.100.1", side=Side.OUTSIDE)) == "world"
    assert name(replace(peer(side=Side.OUTSIDE), tls=certified(sha256=PRINT))) == "world"


def test_an_empty_policy_knows_nobody() -> None:
    assert identify(peer("127.0.0.1"), policy()) is None


def test_an_address_that_is_none_is_nobody() -> None:
    assert name(peer("b'/run/proxy.sock'", side=Side.OUTSIDE)) is None


@given(st.ip_addresses())
def test_every_address_outside_is_the_world(address: Any) -> None:
    assert name(peer(str(address), side=Side.OUTSIDE)) == "world"
