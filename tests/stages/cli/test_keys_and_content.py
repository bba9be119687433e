"""Keys, logins, and the bytes of a message: made with the right rights, and given out only as they were recorded."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner
from sqlalchemy import update

from relay.cli import main
from relay.model.delivery import State
from relay.store.logins import read_logins
from tests.stages.cli.installed import Installed, installed, sqlite_copy
from tests.stages.control.desk import MESSAGE, Desk

WHY = ("--reason", "a test")
RAW = b"Subject: kept\r\n\r\n\x1b[2J" + bytes(range(256)) * 100


@pytest.fixture
def sluis(tmp_path: Path, sqlite_template: Path) -> Installed:
    """An installation without messages."""
    return installed(tmp_path, sqlite_copy(sqlite_template, tmp_path))[0]


async def _kept(at: Desk) -> str:
    return str((await at.keep(RAW, State.QUARANTINED)).hex)


async def _altered(at: Desk) -> str:
    identity = await at.keep(RAW, State.QUARANTINED)
    at.write(lambda connection: connection.execute(update(MESSAGE).where(MESSAGE.c.id == identity).values(digest="0" * 64)))
    return str(identity.hex)


@pytest.fixture
def kept(tmp_path: Path, sqlite_template: Path) -> tuple[Installed, Any]:
    """An installation with one message."""
    return installed(tmp_path, sqlite_copy(sqlite_template, tmp_path), _kept)


def test_the_bytes_of_a_message_are_written_as_they_are_for_the_caller_alone(kept: tuple[Installed, Any], tmp_path: Path) -> None:
    sluis, message = kept
    target = tmp_path / "message.eml"
    said = sluis.run("message", "content", message, str(target), *WHY)
    assert (said.exit_code, said.output) == (0, "")
    assert target.read_bytes() == RAW
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sluis.run("message", "content", message, "-", *WHY).stdout_bytes == RAW
    again = sluis.run("message", "content", message, str(target), *WHY)
    assert (again.exit_code, again.stderr) == (1, f"Error: {target} is there already\n")
    nowhere = sluis.run("message", "content", message, str(tmp_path / "no" / "where"), *WHY)
    assert (nowhere.exit_code, nowhere.stderr) == (1, f"Error: {tmp_path / 'no' / 'where'}: No such file or directory\n")


def test_bytes_that_are_not_those_that_were_recorded_are_not_kept(tmp_path: Path, sqlite_template: Path) -> None:
    sluis, message = installed(tmp_path, sqlite_copy(sqlite_template, tmp_path), _altered)
    said = sluis.run("message", "content", message, str(tmp_path / "message.eml"), *WHY)
    assert (said.exit_code, said.stderr) == (1, "Error: what was read is not what was recorded: the digests differ\n")
    assert not (tmp_path / "message.eml").exists()


def test_a_spool_object_that_was_altered_is_refused(kept: tuple[Installed, Any], tmp_path: Path) -> None:
    sluis, message = kept
    (path,) = [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(data)
    said = sluis.run("message", "content", message, str(tmp_path / "message.eml"), *WHY)
    assert said.exit_code == 1
    assert said.stderr.startswith("Error: spool object ")
    assert not (tmp_path / "message.eml").exists()


def test_the_first_spool_key_is_made_once(sluis: Installed, tmp_path: Path) -> None:
    again = sluis.run("keys", "spool", "new")
    assert again.exit_code == 1
    assert again.stderr == f"Error: {tmp_path / 'keys' / 'spool.pub'} is there already (sluis keys spool rotate)\n"
    for path in (tmp_path / "keys").rglob("*"):
        path.unlink() if path.is_file() else None
    made = sluis.json("keys", "spool", "new")
    key = tmp_path / "keys" / "spool" / f"{made['key']}.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [row["key"] for row in sluis.json("keys", "spool", "list")] == [made["key"]]


def test_a_rotation_makes_the_next_key_and_keeps_the_old_one(kept: tuple[Installed, Any], tmp_path: Path) -> None:
    sluis, message = kept
    first = sluis.json("keys", "spool", "list")[0]["key"]
    assert sluis.run("keys", "spool", "rotate").exit_code == 2, "a reason is needed"
    said = sluis.run("keys", "spool", "rotate", *WHY)
    assert said.exit_code == 0
    assert "; 1 bodies wrapped to it, 0 could not be" in said.stdout
    listed = {row["key"]: row["present"] for row in sluis.json("keys", "spool", "list")}
    assert len(listed) == 2
    assert listed[first] is False
    (tmp_path / "keys" / "spool" / f"{first}.key").unlink()
    assert sluis.run("message", "content", message, "-", *WHY).stdout_bytes == RAW, "read with the new key alone"


def test_a_body_that_can_not_be_rewrapped_is_counted_and_stays_readable(kept: tuple[Installed, Any], tmp_path: Path) -> None:
    sluis, _ = kept
    (path,) = [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    path.write_bytes(b"\0" * 100)
    said = sluis.run("keys", "spool", "rotate", *WHY)
    assert said.exit_code == 1
    assert "0 bodies wrapped to it, 1 could not be" in said.stdout


def test_a_login_is_kept_as_a_hash_that_nobody_else_can_read(sluis: Installed, tmp_path: Path) -> None:
    logins = tmp_path / "secrets" / "logins"
    said = sluis.run("keys", "login", "exchange", stdin="correct horse battery\n")
    assert (said.exit_code, said.stdout) == (0, f"login exchange is set; {logins} has 1\n")
    assert stat.S_IMODE(logins.stat().st_mode) == 0o600
    assert b"correct horse" not in logins.read_bytes()
    assert PasswordHasher().verify(read_logins(logins)["exchange"], "correct horse battery")
    assert "has 2\n" in sluis.run("keys", "login", "dms", stdin="another long password\n").stdout
    assert "has 2\n" in sluis.run("keys", "login", "dms", stdin="and another password\n").stdout, "it is replaced"
    assert PasswordHasher().verify(read_logins(logins)["dms"], "and another password")


@pytest.mark.parametrize("name", ["", "two words", "a:b", "a\x1bb", "#dms", "a\nb"], ids=ascii)
def test_a_login_that_the_file_could_not_hold_is_refused(sluis: Installed, tmp_path: Path, name: str) -> None:
    said = sluis.run("keys", "login", name, stdin="correct horse battery\n")
    assert said.exit_code == 2
    assert not (tmp_path / "secrets" / "logins").exists()


@pytest.mark.parametrize("password", ["", "short", "x" * 11])
def test_a_short_password_is_refused(sluis: Installed, tmp_path: Path, password: str) -> None:
    said = sluis.run("keys", "login", "exchange", stdin=f"{password}\n")
    assert (said.exit_code, said.stderr) == (1, "Error: a password of a mail server has at least 12 characters\n")
    assert not (tmp_path / "secrets" / "logins").exists()


def test_without_a_file_for_logins_the_setting_is_named(sluis: Installed) -> None:
    sluis.config.write_text(sluis.config.read_text().replace('logins = "secrets/logins"\n', ""))
    said = sluis.run("keys", "login", "exchange", stdin="correct horse battery\n")
    assert said.exit_code == 1
    assert "'logins' names no file" in said.stderr


def test_where_no_file_can_be_written_the_place_is_named(sluis: Installed, tmp_path: Path) -> None:
    sluis.config.write_text(sluis.config.read_text().replace("secrets/logins", "nowhere/logins"))
    said = sluis.run("keys", "login", "exchange", stdin="correct horse battery\n")
    assert said.exit_code == 1
    assert f"{tmp_path / 'nowhere'}" in said.stderr


def test_the_settings_file_may_be_named_in_the_environment(sluis: Installed) -> None:
    said = CliRunner().invoke(main, ["queue", "list"], env={**os.environ, "SLUIS_CONFIG": str(sluis.config)})
    assert (said.exit_code, said.stdout) == (0, "the queue is empty\n")
