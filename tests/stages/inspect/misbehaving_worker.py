"""A worker that does what the message says, confined as the real one is: what hostile bytes could make of a reader that they take over.

It answers with a subject: `done`, or the name of the error that the attempt met.
"""

import ctypes
import errno
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from relay.inspect import frames
from relay.inspect.sandbox import confine, limit_cpu
from relay.inspect.template_process import run
from relay.inspect.worker_settings import WorkerSettings
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind

GO = threading.Event()
SAID: list[str] = []


def attempt(action: Callable[[], object]) -> str:
    """`done`, or why not."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "OSError")
    except (ImportError, MemoryError) as error:
        return type(error).__name__
    return "done"


def on_an_older_thread() -> None:
    """Started before the filter."""
    GO.wait()
    SAID.append(attempt(lambda: Path("/etc/hostname").read_bytes()))


def spin() -> str:
    """CPU without end."""
    while True:
        pass


def hang() -> str:
    """No CPU, without end."""
    time.sleep(600)
    return ""


def descriptors() -> str:
    """The numbers of all that are open."""
    return json.dumps([number for number in range(64) if attempt(partial(os.fstat, number)) == "done"])


def hang_up(pool: socket.socket) -> str:
    """Closes its side, and lives on."""
    pool.shutdown(socket.SHUT_RDWR)
    return hang()


def ask_for_the_older_thread() -> str:
    """What the thread that was there before the filter could do."""
    GO.set()
    while not SAID:
        time.sleep(0.01)
    return SAID[0]


def send_raw(pool: socket.socket, octets: bytes) -> str:
    """An answer that is none."""
    pool.sendall(octets)
    return ""


def framed(text: bytes) -> bytes:
    """`text` as an answer, whatever it is."""
    return frames.LENGTH.pack(len(text), 0) + text


def call(number: int, *arguments: int) -> object:
    """A system call by its number (x86-64), as code that was smuggled in would make it."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")
    return None


def say_out_of_memory(pool: socket.socket) -> str:
    """As the real one does (relay/app/inspect_worker.py)."""
    pool.sendall(frames.pack(Inspection(Header(), findings=(Finding(Kind.LIMIT, "inspect", "memory"),)).to_json()))
    return ""


def actions(pool: socket.socket, folder: Path) -> dict[str, Callable[[], str]]:
    """What a message may ask for, by name."""
    old, parent = str(folder / "there"), os.getppid()
    tried: dict[str, Callable[[], object]] = {
        "read a file": lambda: Path("/etc/hostname").read_bytes(),
        "read the file that is there": lambda: Path(old).read_bytes(),
        "write a file": lambda: (folder / "new").write_bytes(b"x"),
        "append to a file": lambda: os.open(old, os.O_WRONLY | os.O_APPEND),
        "empty a file": lambda: os.truncate(old, 0),
        "remove a file": lambda: Path(old).unlink(),
        "rename a file": lambda: Path(old).rename(folder / "moved"),
        "link a file": lambda: os.link(old, folder / "link"),
        "symlink a file": lambda: (folder / "symlink").symlink_to(old),
        "change a mode": lambda: Path(old).chmod(0o777),
        "change the mode of an open file": lambda: os.fchmod(pool.fileno(), 0o777),
        "change the owner of an open file": lambda: os.fchown(pool.fileno(), os.getuid(), -1),
        "cut an open file": lambda: os.ftruncate(pool.fileno(), 0),
        "change times": lambda: os.utime(old, (0, 0)),
        "make a folder": lambda: (folder / "folder").mkdir(),
        "make a fifo": lambda: os.mkfifo(folder / "fifo"),
        "list a folder": lambda: os.listdir(folder),  # noqa: PTH208 - the plain call
        "open an IPv4 socket": lambda: socket.socket(socket.AF_INET),
        "open an IPv6 socket": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        "open a unix socket": lambda: socket.socket(socket.AF_UNIX),
        "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "become a program": lambda: os.execv("/bin/true", ["true"]),
        "fork": os.fork,
        "signal the relay": lambda: os.kill(parent, 0),
        "trace the relay": lambda: call(101, 16, parent, 0, 0),
        "read the relay's memory": lambda: call(310, parent, 0, 0, 0, 0, 0),
        "write the relay's memory": lambda: call(311, parent, 0, 0, 0, 0, 0),
        "hold the relay": lambda: call(434, parent, 0),
        "signal the relay by a descriptor": lambda: call(424, 0, 0, 0, 0),
        "slow the relay down": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
        "move the relay to one processor": lambda: os.sched_setaffinity(parent, os.sched_getaffinity(0)),
        "limit the relay": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE, (3, 3)),
        "take a descriptor of the relay": lambda: call(438, 0, 0, 0),
        "set up io_uring": lambda: call(425, 1, 0),
        "leave its namespaces": lambda: call(272, 0x10000000),
        "load a module": lambda: importlib.import_module("wave"),
        "start a thread": lambda: threading.Thread(target=int).start(),
        "limit itself": lambda: resource.setrlimit(resource.RLIMIT_CPU, resource.getrlimit(resource.RLIMIT_CPU)),
        "take memory": lambda: bytearray(2 * 1024**3),
    }
    plain: dict[str, Callable[[], str]] = {
        "read a file on an older thread": ask_for_the_older_thread,
        "tell the environment": lambda: json.dumps(sorted(os.environ)),
        "tell the descriptors": descriptors,
        "tell whether it can be dumped": lambda: str(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)),  # PR_GET_DUMPABLE
        "tell the process": lambda: str(os.getpid()),
        "crash": lambda: str(ctypes.string_at(0)),
        "abort": os.abort,
        "exit": lambda: sys.exit(0),
        "spin": spin,
        "hang": hang,
        "answer garbage": lambda: send_raw(pool, framed(b"{garbage")),
        "say that memory ran out": lambda: say_out_of_memory(pool),
        "answer a list": lambda: send_raw(pool, framed(b"[]")),
        "answer an empty object": lambda: send_raw(pool, framed(b"{}")),
        "answer nested brackets": lambda: send_raw(pool, framed(b"[" * 200_000)),
        "answer other types": lambda: send_raw(pool, framed(json.dumps(Inspection(Header()).to_json() | {"findings": [1]}).encode())),
        "answer without end": lambda: send_raw(pool, frames.LENGTH.pack(2**31, 0)),
        "ask for another socket": lambda: send_raw(pool, framed(b'{"need": "control"}')),
        "close the socket": lambda: hang_up(pool),
    }
    return {name: (lambda action=action: attempt(action)) for name, action in tried.items()} | plain


def prepare(_: WorkerSettings) -> None:
    """Nothing is shared."""


def work(pool: socket.socket, settings: WorkerSettings, _: None) -> None:
    """As the real one."""
    assert settings.rules is not None
    threading.Thread(target=on_an_older_thread, daemon=True).start()
    known = actions(pool, Path(settings.rules))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    confine(settings.memory)
    pool.sendall(frames.pack({"unavailable": {}}))
    while (job := frames.receive(pool)) is not None:
        limit_cpu(settings.cpu_seconds)
        answer = known[job[1].decode()]()
        if answer:
            pool.sendall(frames.pack(Inspection(Header(subject=answer)).to_json()))


if __name__ == "__main__":
    run(prepare, work)
