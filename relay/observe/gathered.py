"""Metrics and readiness of several processes as of one: asked over their unix sockets."""

import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

SECONDS = 5.0
_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>.*)")
_OF_THE_STORE = ("sluis_deliveries", "sluis_oldest_seconds", "sluis_possible_duplicates", "sluis_balance")
"""The same whoever is asked: taken once, without a label."""


class Gathered:
    """A Source over processes: name to unix socket, on which nobody answers while a process is down. The first one that answers tells of
    the store. `restarts` tells how often each was started again."""

    def __init__(self, processes: Mapping[str, Path], restarts: Callable[[], Mapping[str, int]]) -> None:
        self._processes = processes
        self._restarts = restarts

    def text(self) -> bytes:
        """The exposition format: every sample of a process with its name as the label `process`."""
        families: dict[str, list[str]] = {}
        up = ["# HELP sluis_process_up 1 while a process of the relay answers", "# TYPE sluis_process_up gauge"]
        again = ["# HELP sluis_process_restarts_total starts after a process had died", "# TYPE sluis_process_restarts_total counter"]
        again += [f'sluis_process_restarts_total{{process="{name}"}} {float(number)}' for name, number in self._restarts().items()]
        for name, path in self._processes.items():
            try:
                lines = _ask(path, "/metrics")[1].splitlines()
            except OSError:
                lines = []
            up.append(f'sluis_process_up{{process="{name}"}} {float(bool(lines))}')
            self._add(families, lines, name)
        return ("\n".join([*up, *again, *(line for family in families.values() for line in family)]) + "\n").encode()

    def _add(self, families: dict[str, list[str]], lines: list[str], name: str) -> None:
        """A family's HELP and TYPE stand once, before all of its samples."""
        family, known = "", False
        for line in lines:
            if line.startswith("# HELP "):
                family = line.split(" ")[2]
                known = family in families
            kept = families.setdefault(family, [])
            if line.startswith("#") or family.startswith(_OF_THE_STORE):
                if not known:
                    kept.append(line)
            elif sample := _SAMPLE.fullmatch(line):
                labels = ",".join(filter(None, (sample["labels"], f'process="{name}"')))
                kept.append(f"{sample['name']}{{{labels}}} {sample['value']}")

    def not_ready(self) -> list[str]:
        """Why the relay should get no mail now, process by process."""
        reasons: list[str] = []
        for name, path in self._processes.items():
            try:
                status, body = _ask(path, "/ready")
            except OSError:
                reasons.append(f"{name}: the process is down")
                continue
            if status != 200:
                reasons += [f"{name}: {line}" for line in body.splitlines()]
        return reasons


def _ask(path: Path, page: str) -> tuple[int, str]:
    """Status and body. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(path))
        connection.sendall(f"GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise OSError("no answer")
    return int(head.split(b" ", 2)[1]), body.decode()
