"""Memory of a tree of processes: PSS (proc_pid_smaps(5)), in which a page that n processes share counts 1/n for each."""

import os
import re
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

MB = 1_000_000
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it has ended meanwhile
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for known in found:
        found += children.get(known, [])
    return found


def pss(pids: Iterable[int]) -> dict[int, int]:
    """Octets of each process that is still there. The relay and its workers hide their memory from their own user: this asks as root."""
    paths = [f"/proc/{pid}/smaps_rollup" for pid in pids]
    found: dict[int, int] = {}
    for path in paths:
        text = _read(path)
        if match := _PSS.search(text):
            found[int(path.split("/")[2])] = int(match[1]) * 1024
    return found


def _read(path: str) -> bytes:
    if os.geteuid() == 0:
        try:
            return Path(path).read_bytes()
        except OSError:
            return b""  # it has ended meanwhile
    return subprocess.run(["sudo", "-n", "cat", path], capture_output=True, check=False).stdout


@dataclass
class Peak:
    """The most that a tree took while this ran, looked at every `seconds`: in all, and of each process at that moment (octets)."""

    pid: int
    seconds: float = 0.05
    total: int = 0
    each: dict[int, int] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Peak":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        while True:
            each = pss(tree(self.pid))
            if sum(each.values()) > self.total:
                self.total, self.each = sum(each.values()), each
            if self._ended.wait(self.seconds):
                return
