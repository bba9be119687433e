"""Who asks is what the kernel says, and what they may do is what their unix groups say."""

import grp
import os
import pwd
import socket
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay.control.actor import Role, actor_of, peer_uid
from relay.settings.models import Control

USERS = {1001: "anna", 1002: "bert", 1003: "carla"}
GROUPS = {10: "users", 20: "sluis-review", 21: "sluis-admin", 22: "sluis-audit"}
MEMBERS: dict[str, Sequence[int]] = {"anna": (10, 20), "bert": (10, 21, 22), "carla": (10, 99)}


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user database of a made-up machine; group 99 has no name. After `tmp_path`, which looks for the real one."""

    def user(uid: int) -> SimpleNamespace:
        if uid not in USERS:
            raise KeyError(uid)
        return SimpleNamespace(pw_name=USERS[uid], pw_gid=10)

    def group(gid: int) -> SimpleNamespace:
        if gid not in GROUPS:
            raise KeyError(gid)
        return SimpleNamespace(gr_name=GROUPS[gid])

    monkeypatch.setattr(pwd, "getpwuid", user)
    monkeypatch.setattr(grp, "getgrgid", group)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: list(MEMBERS[name]))
    monkeypatch.setattr(os, "geteuid", lambda: 900)


def settings(folder: Path) -> Control:
    """With a group for each role."""
    return Control(socket=folder / "socket", review_group="sluis-review", admin_group="sluis-admin", audit_group="sluis-audit")


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    ("uid", "name", "roles"),
    [
        (1001, "unix:anna (1001)", {Role.REVIEW}),
        (1002, "unix:bert (1002)", {Role.ADMIN, Role.AUDIT}),
        (1003, "unix:carla (1003)", set()),
        (4711, "unix:4711 (4711)", set()),
        (0, "unix:0 (0)", set(Role)),
        (900, "unix:900 (900)", set(Role)),
    ],
)
def test_roles_are_those_of_the_unix_groups(tmp_path: Path, uid: int, name: str, roles: set[Role]) -> None:
    actor = actor_of(uid, settings(tmp_path))
    assert actor.name == name
    assert actor.roles == roles


@pytest.mark.usefixtures("accounts")
def test_a_role_without_a_group_is_nobodys(tmp_path: Path) -> None:
    assert actor_of(1002, Control(socket=tmp_path / "socket", review_group="sluis-review")).roles == set()


def test_the_peer_of_a_socket_is_who_the_kernel_says() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        assert peer_uid(here) == os.getuid()
