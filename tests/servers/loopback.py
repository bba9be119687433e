"""Keeps the tests on this machine: refuses what this process would connect or send to elsewhere."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class LeftThisMachine(AssertionError):
    """A test tried to reach something else than this machine."""


def is_here(family: int, address: Any) -> bool:
    """Whether a socket of `family` stays on this machine with `address`. A name would first be resolved, which may leave too."""
    if family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return True
    host = str(address[0])
    try:
        return host in ("localhost", "") or ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


@contextmanager
def only_loopback() -> Iterator[list[str]]:
    """Inside, a connect or datagram to elsewhere raises LeftThisMachine, and is added to the list that is given: a test may swallow the
    error. libuv and libpq connect by themselves, and are not seen here."""
    tried: list[str] = []
    originals: dict[str, Any] = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}

    def guarded(name: str) -> Any:
        def method(self: socket.socket, *arguments: Any) -> Any:
            if not is_here(self.family, arguments[-1]):
                tried.append(f"{arguments[-1]} in {os.environ.get('PYTEST_CURRENT_TEST', 'no test')}")
                self.close()
                raise LeftThisMachine(tried[-1])
            return originals[name](self, *arguments)

        return method

    with pytest.MonkeyPatch.context() as patch:
        for name in originals:
            patch.setattr(socket.socket, name, guarded(name))
        yield tried
