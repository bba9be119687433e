"""What the kernel says of the processes that a test has started (proc(5)). One that ends while it is looked at has nothing then."""

from contextlib import suppress
from pathlib import Path


def ended(pid: int) -> bool:
    """Whether a process has come to its end, though nobody may have taken notice of it yet."""
    return _state(Path(f"/proc/{pid}")) in ("", "Z", "X")


def stopped(pid: int) -> bool:
    """Whether each of its threads stands still, for a signal or for who traces it (T and t)."""
    states = [state for task in _within(f"/proc/{pid}/task") if (state := _state(task))]
    return bool(states) and all(state in "Tt" for state in states)


def command_line(pid: int) -> list[str]:
    """The words that it was started with."""
    return _read(Path(f"/proc/{pid}/cmdline")).split("\0")


def children(pid: int) -> list[int]:
    """Those that it has started itself."""
    return [int(child) for task in _within(f"/proc/{pid}/task") for child in _read(task / "children").split()]


def descendants(pid: int) -> list[int]:
    """Its children, and theirs."""
    return [one for child in children(pid) for one in (child, *descendants(child))]


def client_ports(pid: int) -> set[int]:
    """The ports of those who are connected to it over IPv4, at their end. Of root's processes only root is told."""
    sockets = set()
    for descriptor in _within(f"/proc/{pid}/fd"):
        with suppress(OSError):
            sockets.add(str(descriptor.readlink()))
    connections = [line.split() for line in _read(Path(f"/proc/{pid}/net/tcp")).splitlines()[1:]]
    return {int(fields[2].rpartition(":")[2], 16) for fields in connections if f"socket:[{fields[9]}]" in sockets}


def _state(process: Path) -> str:
    return _read(process / "stat").rpartition(")")[2].strip()[:1]


def _within(folder: str) -> list[Path]:
    with suppress(OSError):
        return list(Path(folder).iterdir())
    return []


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""
