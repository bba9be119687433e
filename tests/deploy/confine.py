"""Starts a program as systemd would under a unit, where systemd is not the first process: run by root with a plan (see `Plan`) as JSON.

What it does of systemd.exec(5): a mount namespace in which the whole file system is read-only but for state and run-time folders,
with nothing of /home and /root but what the interpreter needs, a private /tmp, few devices, and /proc with subset=pid; user, group,
capabilities, no new privileges, umask, limits; and a seccomp filter made of SystemCallFilter, MemoryDenyWriteExecute,
RestrictAddressFamilies and RestrictNamespaces. What it does not do: cgroups (TasksMax, DevicePolicy), IPC and key ring namespaces, and
the finer filters (RestrictRealtime, RestrictSUIDSGID, LockPersonality, ProtectClock, ProtectHostname)."""

import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

CLONE_NEWNS = 0x00020000
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # libseccomp: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM)
EQUAL, MASKED_EQUAL = 4, 7  # enum scmp_compare
PROT_WRITE, PROT_EXEC = 2, 4
ETC = ("group", "hosts", "ld.so.cache", "localtime", "nsswitch.conf", "passwd", "resolv.conf")


class Plan(TypedDict):
    """`root` is an empty folder; `readable` are folders at their own place, `folders` maps places to folders that take their place; into
    the places of `hidden` nobody can look (InaccessiblePaths). `names` are lines for passwd and group."""

    root: str
    readable: list[str]
    folders: dict[str, str]
    writable: list[str]
    hidden: list[str]
    names: dict[str, list[str]]
    uid: int
    gid: int
    capabilities: list[str]
    umask: int
    limits: dict[str, int]
    calls: list[str]
    families: list[str]
    memory_deny_write_execute: bool
    command: list[str]
    environment: dict[str, str]


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def main() -> None:
    """As root first; then again, inside and without privileges, for the filter."""
    plan: Plan = json.loads(sys.argv[-1])
    if sys.argv[1] == "enter":
        enter(plan)
    else:
        filter_calls(plan)
        os.execve(plan["command"][0], plan["command"], plan["environment"])


def enter(plan: Plan) -> None:
    """Never returns."""
    build(plan)
    os.chroot(plan["root"])
    os.chdir("/")
    os.umask(plan["umask"])
    for name, value in plan["limits"].items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # more than we have needs CAP_SYS_RESOURCE
        resource.setrlimit(kind, (value, value))
    only = ",".join(["-all", *(f"+{name}" for name in plan["capabilities"])])
    words = ["setpriv", f"--reuid={plan['uid']}", f"--regid={plan['gid']}", "--clear-groups", "--no-new-privs"]
    words += [f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]
    words += [sys.executable, "-P", __file__, "filter", sys.argv[-1]]
    os.execve("/usr/bin/setpriv", words, plan["environment"])


def build(plan: Plan) -> None:
    """A root of its own, in a mount namespace that ends with the process."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare: a mount namespace needs CAP_SYS_ADMIN")
    mount("--make-rprivate", "/")
    root = Path(plan["root"])
    mount("-t", "tmpfs", "tmpfs", str(root))
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc").mkdir()
    for name in ETC:
        if (Path("/etc") / name).exists():
            (root / "etc" / name).write_bytes((Path("/etc") / name).read_bytes())
    for name, lines in plan["names"].items():
        with (root / "etc" / name).open("a") as file:
            file.writelines(lines)
    # Before what is bound: a checkout may lie below /tmp.
    for place, kind, options in (("proc", "proc", "subset=pid,hidepid=invisible"), ("tmp", "tmpfs", "mode=1777")):
        (root / place).mkdir()
        mount("-t", kind, "-o", options, kind, str(root / place))
    for place in ("/usr", *plan["readable"]):
        bind(place, root, place, writable=False)
    for place, folder in plan["folders"].items():
        bind(folder, root, place, writable=place in plan["writable"])
    for place in plan["hidden"]:
        mount("-t", "tmpfs", "-o", "ro,mode=0000", "tmpfs", str(root / place.lstrip("/")))
    for name in ("null", "random", "urandom", "zero"):
        device = root / "dev" / name
        device.parent.mkdir(exist_ok=True)
        device.touch()
        mount("--bind", f"/dev/{name}", str(device))
    mount("-o", "remount,ro", str(root))


def bind(source: str, root: Path, place: str, *, writable: bool) -> None:
    """Puts a folder somewhere below the root."""
    target = root / place.lstrip("/")
    target.mkdir(parents=True, exist_ok=True)
    mount("--bind", source, str(target))
    if not writable:
        mount("-o", "remount,bind,ro", str(target))


def mount(*words: str) -> None:
    """mount(8)."""
    subprocess.run(["mount", *words], check=True)


def filter_calls(plan: Plan) -> None:
    """All but the plan's system calls fail with EPERM from now on."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))

    def allow(call: str, *conditions: Compare) -> None:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # a name of another machine's is below
            array = (Compare * max(1, len(conditions)))(*conditions)
            assert library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, len(conditions), array) == 0, call

    special = {"socket", "unshare", "setns"} | ({"mmap", "mprotect", "pkey_mprotect"} if plan["memory_deny_write_execute"] else set())
    for call in plan["calls"]:
        if call not in special:
            allow(call)
    for family in plan["families"]:
        allow("socket", Compare(0, EQUAL, getattr(socket, family), 0))
    if plan["memory_deny_write_execute"]:
        for call in ("mprotect", "pkey_mprotect"):
            allow(call, Compare(2, MASKED_EQUAL, PROT_EXEC, 0))
        allow("mmap", Compare(2, MASKED_EQUAL, PROT_EXEC, 0))
        allow("mmap", Compare(2, MASKED_EQUAL, PROT_EXEC | PROT_WRITE, PROT_EXEC))
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    main()
