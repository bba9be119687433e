"""Ports that nobody else takes, so that a server may go away and come back on its own, or be told one before it starts.

The kernel gives those of ip_local_port_range to whoever connects or binds port 0, also between two lines of a test. These are others, and
each is promised to one owner among all processes of tests: who holds a name of unix(7), which goes with its process.
"""

import errno
import itertools
import os
import socket
import sys
import weakref
from collections.abc import Iterable
from pathlib import Path

_FIRST = 10_000  # below are the known ones
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_COUNT = itertools.count(os.getpid() * 101)  # processes begin apart: a port whose owner has just ended is not the first choice


def free_port(owner: object = sys.modules[__name__]) -> int:
    """A port that nobody has bound, promised as long as `owner` is there, else as long as this process."""
    low, high = map(int, _RANGE.read_text().split())
    ports = [*range(_FIRST, low), *range(high + 1, 2**16)]
    turns = (ports[next(_COUNT) % len(ports)] for _ in ports)
    return promised(filter(_unbound, turns), owner)


def promised(candidates: Iterable[int], owner: object = sys.modules[__name__]) -> int:
    """The first that no other test holds."""
    for port in candidates:
        name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            name.bind(f"\0sluis-test-port-{port}")
        except OSError as error:
            name.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        weakref.finalize(owner, name.close)
        return port
    raise AssertionError("no port is left for a test")


def _unbound(port: int) -> bool:
    """On every address."""
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
