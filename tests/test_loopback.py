"""The guard that keeps the tests on this machine."""

import socket

import pytest

from tests.servers.loopback import LeftThisMachine, is_here, only_loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_may_be_reached(address: str) -> None:
    assert is_here(socket.AF_INET6 if ":" in address else socket.AF_INET, (address, 25))


@pytest.mark.parametrize("address", ["192.0.2.1", "0.0.0.0", "2001:db8::1", "fe80::1%lo", "mx.example.nl", "localhost.example.nl"])
def test_elsewhere_and_names_that_must_be_resolved_may_not_be_reached(address: str) -> None:
    assert not is_here(socket.AF_INET6 if ":" in address else socket.AF_INET, (address, 25))


def test_a_connect_to_elsewhere_fails_and_is_remembered() -> None:
    with only_loopback() as tried:
        with pytest.raises(LeftThisMachine):
            socket.create_connection(("192.0.2.1", 25), timeout=1)
        with pytest.raises(LeftThisMachine), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(b"", ("192.0.2.1", 53))
    assert len(tried) == 2


def test_a_unix_socket_may_be_reached() -> None:
    assert is_here(socket.AF_UNIX, "/run/clamav/clamd.ctl")
