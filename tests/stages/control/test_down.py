"""With the relay down a command does the same by itself, under the writer's lock; with a relay that can't be reached it says so."""

import asyncio
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from relay.cli.call import asked
from relay.model.delivery import State
from relay.model.errors import OperationRefused, SluisError, StoreError
from relay.settings.models import Control, Settings, Store
from relay.store.engine import WriterLock, sqlite_path
from tests.stages.control.desk import MACROS, desk
from tests.stages.policy.texts import FILES

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def installation(folder: Path, store: Store) -> tuple[Settings, str]:
    """Settings of a relay that is down, and a message in its quarantine."""

    async def fill() -> tuple[Settings, str]:
        async with desk(folder, store) as at:
            return at.settings, at.put(State.QUARANTINED, rules=[MACROS]).hex

    settings, message = asyncio.run(fill())
    for name, text in FILES.items():
        path = folder / "policies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return settings.model_copy(update={"policies": folder / "policies"}), message


def test_the_same_operation_works_with_the_relay_down(tmp_path: Path, database: Store) -> None:
    settings, message = installation(tmp_path, database)
    answer = asked(settings, "quarantine.release", {"filters": {"ids": [message]}, "reason": "while it is down"})
    assert answer["changed"][0]["to_state"] == "undecided"
    shown = asked(settings, "message.show", {"id": message, "reason": "look"})
    assert shown["deliveries"][0]["state"] == "undecided"
    assert f"({os.getuid()})" in shown["events"][-1]["actor"]
    with pytest.raises(OperationRefused, match="none of these is quarantined"):
        asked(settings, "quarantine.release", {"filters": {"ids": [message]}, "reason": "twice"})


@on_sqlite
def test_a_relay_that_holds_the_lock_and_answers_nowhere_is_named(tmp_path: Path, database: Store) -> None:
    settings, message = installation(tmp_path, database)
    path = sqlite_path(database)
    assert path is not None
    lock = WriterLock(path)
    lock.acquire()
    try:
        with pytest.raises(StoreError) as caught:
            asked(settings, "queue.list", {})
        assert str(caught.value).startswith(
            f"the store is held by process {os.getpid()}, which does not answer on {settings.control.socket}"
        )
        assert "control.socket" in str(caught.value)
    finally:
        lock.release()
    assert asked(settings, "quarantine.list", {})["rows"][0]["id"] == message, "the lock is free again"


@on_sqlite
def test_a_look_at_a_store_that_is_not_there_makes_none(tmp_path: Path, database: Store) -> None:
    settings, _ = installation(tmp_path, database)
    missing = settings.model_copy(update={"store": Store(url=f"sqlite:///{tmp_path}/elsewhere/sluis.db")})
    with pytest.raises(StoreError, match=r"no store yet \(run: sluis store upgrade\)"):
        asked(missing, "queue.list", {})
    assert not (tmp_path / "elsewhere").exists()


@on_sqlite
def test_a_lock_that_can_not_be_taken_is_told_without_a_traceback(tmp_path: Path, database: Store) -> None:
    settings, _ = installation(tmp_path, database)
    path = sqlite_path(database)
    assert path is not None
    lock = path.with_name(path.name + ".lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    with pytest.raises(SluisError, match="the relay is down, and its files can't be used"):
        asked(settings, "queue.list", {})


@on_sqlite
def test_a_broken_policy_or_missing_keys_are_told(tmp_path: Path, database: Store) -> None:
    settings, _ = installation(tmp_path, database)
    (settings.policies / "routes.yaml").write_text("routes: 5\n")
    with pytest.raises(SluisError, match=r"routes\.yaml:1"):
        asked(settings, "queue.list", {})
    settings.spool.public_key.unlink()
    with pytest.raises(SluisError, match=r"routes\.yaml:1|sluis keys spool new"):
        asked(settings, "queue.list", {})


@pytest.mark.parametrize("answer", [b"", b'{"ok": '], ids=["none", "half"])
def test_a_relay_that_ends_without_an_answer_is_told(tmp_path: Path, answer: bytes) -> None:
    settings = Settings(hostname="relay.example.nl", control=Control(socket=tmp_path / "socket"))

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        with pytest.raises(StoreError, match="without an answer; its log says why"):
            asked(settings, "queue.list", {})
        thread.join()


def test_what_the_relay_refuses_is_raised_with_its_words(tmp_path: Path) -> None:
    settings = Settings(hostname="relay.example.nl", control=Control(socket=tmp_path / "socket"))
    heard: list[Any] = []

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as lines:
            heard.append(json.loads(lines.readline()))
            connection.sendall(b'{"error": "not today"}\n')

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        with pytest.raises(OperationRefused, match="not today"):
            asked(settings, "queue.list", {"limit": 5})
        thread.join()
    assert heard == [{"operation": "queue.list", "params": {"limit": 5}}], "the caller does not say who it is"
