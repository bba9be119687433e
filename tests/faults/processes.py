"""What the kernel says of a relay's processes (proc(5))."""

from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Child processes, and theirs (proc(5), children)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def client_ports(pid: int) -> set[int]:
    """The ports of those who are connected to a process over IPv4, at their end. Root's processes are told to root alone."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed
            sockets.add(str(descriptor.readlink()))
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"socket:[{fields[9]}]" in sockets:
            found.add(int(fields[2].rpartition(":")[2], 16))
    return found
