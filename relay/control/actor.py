"""Who asks: named by the kernel (SO_PEERCRED), never by an option."""

import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum

from relay.settings.models import Control

_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid (unix(7))


class Role(StrEnum):
    """What an operation asks of its actor."""

    REVIEW = "review"
    ADMIN = "admin"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` is what the audit says: `unix:NAME (UID)`."""

    uid: int
    name: str
    roles: frozenset[Role]


def actor_of(uid: int, settings: Control) -> Actor:
    """root and the relay's own user have every role; others those of their groups."""
    try:
        entry = pwd.getpwuid(uid)
        login, groups = entry.pw_name, {grp.getgrgid(gid).gr_name for gid in os.getgrouplist(entry.pw_name, entry.pw_gid) if _exists(gid)}
    except KeyError:
        login, groups = str(uid), set()
    if uid in (0, os.geteuid()):
        roles = frozenset(Role)
    else:
        by_role = {Role.REVIEW: settings.review_group, Role.ADMIN: settings.admin_group, Role.AUDIT: settings.audit_group}
        roles = frozenset(role for role, group in by_role.items() if group is not None and group in groups)
    return Actor(uid, f"unix:{login} ({uid})", roles)


def _exists(gid: int) -> bool:
    try:
        grp.getgrgid(gid)
    except KeyError:
        return False
    return True


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a unix socket."""
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)
