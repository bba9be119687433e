"""The control socket: what comes in is judged, what goes out is one line, and nobody is left without an answer."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from relay.control.actor import Actor
from relay.control.operation import Operation, Services
from relay.control.server import CALLS_PER_USER, MAX_LINE, ControlServer
from relay.model.errors import ConfigurationError, OperationRefused, StoreError
from relay.settings.models import Control


async def _echo(_: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    return {"actor": actor.name, **params}


async def _refuse(_: Services, __: Actor, ___: dict[str, Any]) -> dict[str, Any]:
    raise OperationRefused("not today")


async def _lost(_: Services, __: Actor, ___: dict[str, Any]) -> dict[str, Any]:
    raise StoreError("the store is away")


async def _bug(_: Services, __: Actor, ___: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError("a secret of the inside")


OPERATIONS = {
    name: Operation(name, None, run, needs_reason=name == "with-reason")
    for name, run in (("echo", _echo), ("with-reason", _echo), ("refuse", _refuse), ("lost", _lost), ("bug", _bug))
}


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[ControlServer]:
    """A control server over these operations, which need no services."""
    server = ControlServer(Control(socket=path), OPERATIONS, cast(Services, None))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def say(path: Path, line: bytes) -> dict[str, Any]:
    """The answer to one line."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
    try:
        writer.write(line)
        if not line.endswith(b"\n"):
            writer.write_eof()
        answer = await reader.readline()
        assert answer.endswith(b"\n"), "every question gets a line"
        assert await reader.read() == b"", "and nothing more"
        return dict(json.loads(answer))
    finally:
        writer.close()


async def ask(path: Path, operation: Any, **params: Any) -> dict[str, Any]:
    """The answer to an operation."""
    return await say(path, json.dumps({"operation": operation, "params": params}).encode() + b"\n")


def test_the_actor_is_whoever_is_at_the_other_end_whatever_they_say(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            answer = await say(
                tmp_path / "socket", b'{"operation": "echo", "params": {"hello": 1}, "actor": "unix:nobody (1)", "uid": 1}\n'
            )
        assert answer["ok"]["actor"].endswith(f"({os.getuid()})")

    asyncio.run(story())


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"",
        b"GET / HTTP/1.1\r\n",
        b"\xff\xfe\x00\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'"echo"\n',
        b'{"operation": "echo"}\n',
        b'{"operation": "echo", "params": {}',
        b'{"operation": ["echo"], "params": {}}\n',
        b'{"operation": {"echo": 1}, "params": {}}\n',
        b"[" * 100_000 + b"\n",
        b'{"operation": "echo", "params": ' + b'{"a":' * 90_000 + b"\n",
    ],
    ids=lambda line: repr(line[:24]),
)
def test_what_is_no_request_is_called_so(tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            assert await say(tmp_path / "socket", line) == {"error": "not a request"}

    asyncio.run(story())
    assert caplog.records == []


@pytest.mark.parametrize("request_", [("shutdown", {}), (None, {}), (5, {}), ("echo", [1]), ("echo", "x")], ids=str)
def test_an_unknown_operation_is_refused_with_a_hint(tmp_path: Path, request_: tuple[Any, Any]) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            line = json.dumps({"operation": request_[0], "params": request_[1]}).encode() + b"\n"
            assert "of another version?" in (await say(tmp_path / "socket", line))["error"]

    asyncio.run(story())


def test_a_line_beyond_all_measure_is_refused_and_takes_nobody_down(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            for line in (b"x" * (MAX_LINE + 100) + b"\n", b"x" * (3 * MAX_LINE)):
                reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
                writer.write(line)
                assert json.loads(await reader.readline()) == {"error": f"a request is one line of at most {MAX_LINE} octets"}
                writer.transport.abort()
            assert "ok" in await ask(tmp_path / "socket", "echo")

    asyncio.run(story())


def test_whoever_goes_away_takes_nobody_with_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            for line in (b"", b'{"operation"', b'{"operation": "echo", "params": {}}\n'):
                _, writer = await asyncio.open_unix_connection(tmp_path / "socket")
                writer.write(line)
                writer.transport.abort()
            assert "ok" in await ask(tmp_path / "socket", "echo")

    asyncio.run(story())
    assert [record.getMessage() for record in caplog.records] == []


def test_a_refusal_is_told_as_it_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            assert await ask(tmp_path / "socket", "refuse") == {"error": "not today"}
            assert await ask(tmp_path / "socket", "lost") == {"error": "the store is away"}

    asyncio.run(story())


def test_a_bug_is_told_without_a_traceback_and_logged_with_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            assert await ask(tmp_path / "socket", "bug") == {"error": "the relay failed on this; its log says why"}

    asyncio.run(story())
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("reason", [None, "", "   ", 5, ["x"], {}])
def test_a_reason_is_needed(tmp_path: Path, reason: Any) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            params = {} if reason is None else {"reason": reason}
            assert await ask(tmp_path / "socket", "with-reason", **params) == {"error": "a reason is needed (--reason)"}

    asyncio.run(story())


@pytest.mark.parametrize("reason", ["line\nline", "\x1b[2J", "\u202eexe.txt", "\ud800", "x" * 1001, "tab\t"], ids=ascii)
def test_a_reason_is_printable_and_bounded(tmp_path: Path, reason: str) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            answer = await ask(tmp_path / "socket", "with-reason", reason=reason)
            assert answer == {"error": "the reason must be printable text of at most 1000 characters"}
            assert "ok" in await ask(tmp_path / "socket", "with-reason", reason="é" * 1000)

    asyncio.run(story())


@pytest.mark.parametrize(("group", "mode"), [(None, 0o600), ("sluis-review", 0o666)])
def test_others_reach_the_socket_only_where_a_group_has_a_role(tmp_path: Path, group: str | None, mode: int) -> None:
    async def story() -> None:
        path = tmp_path / "run" / "socket"
        server = ControlServer(Control(socket=path, review_group=group), OPERATIONS, cast(Services, None))
        await server.start()
        assert stat.S_IMODE(path.stat().st_mode) == mode
        await server.close()
        assert not path.exists(), "it goes with the relay"

    asyncio.run(story())


def test_one_user_can_not_keep_the_others_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path / "socket"):
            waiting = [await asyncio.open_unix_connection(tmp_path / "socket") for _ in range(CALLS_PER_USER)]
            for _, writer in waiting:
                writer.write(b'{"operation"')
            reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
            assert b"calls at a time by one user" in await reader.readline()
            writer.close()
            for reader, writer in waiting:
                writer.write_eof()
                assert json.loads(await reader.readline()) == {"error": "not a request"}
                writer.close()
            assert "ok" in await ask(tmp_path / "socket", "echo")

    asyncio.run(story())


def test_a_socket_that_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with served(path):
            assert "ok" in await ask(path, "echo")

    asyncio.run(story())


def test_the_socket_of_another_relay_is_not_taken(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "socket"
        async with served(path):
            with pytest.raises(ConfigurationError, match="another relay answers on this socket"):
                await ControlServer(Control(socket=path), OPERATIONS, cast(Services, None)).start()
            assert "ok" in await ask(path, "echo"), "the first goes on"

    asyncio.run(story())


def test_a_file_that_a_wrong_setting_names_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "sluis.toml"
    path.write_text("precious")
    (tmp_path / "link").symlink_to(path)
    for name in ("sluis.toml", "link"):
        with pytest.raises(ConfigurationError, match="this is no socket, and is not replaced by one"):
            asyncio.run(ControlServer(Control(socket=tmp_path / name), OPERATIONS, cast(Services, None)).start())
    assert path.read_text() == "precious"


def test_a_place_where_no_socket_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "socket", tmp_path / ("x" * 120)):
        with pytest.raises(ConfigurationError, match=r"control\.socket"):
            asyncio.run(ControlServer(Control(socket=path), OPERATIONS, cast(Services, None)).start())
