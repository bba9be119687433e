"""What a process tells whoever started it."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.app.systemd import beat, tell, watched


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of whoever listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        listening.bind(str(tmp_path / "told"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "told"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield listening


def test_who_started_it_hears_that_it_is_ready(heard: socket.socket) -> None:
    tell("READY=1")
    assert heard.recv(100) == b"READY=1"


def test_who_listens_no_more_and_who_does_not_read_stops_nobody(heard: socket.socket) -> None:
    for _ in range(10_000):  # more than a socket keeps: a blocking one would wait here for ever
        tell("WATCHDOG=1")
    heard.close()
    tell("READY=1")


def test_who_is_watched_says_that_it_lives_several_times_within_the_time(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "300000")

    async def story() -> None:
        beating = asyncio.create_task(beat())
        for _ in range(3):
            assert await asyncio.to_thread(heard.recv, 100) == b"WATCHDOG=1"
        beating.cancel()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "5000000"}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
    ids=["nobody watches", "watched", "meant for it", "meant for another", "no number"],
)
def test_it_is_watched_where_the_environment_says_so_and_means_it(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], seconds: float
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert watched() == seconds
