"""The process that inspect workers are forked from, as the pool sees it: loaded once, so that they share its memory and start at once."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from relay.inspect import frames
from relay.inspect.worker_settings import WorkerSettings
from relay.model.errors import SluisError
from relay.settings.models import Settings

EXCHANGE_SECONDS = 30.0
"""To fork a worker, or to end one: milliseconds, on a machine that is not at its end."""


class TemplateFailed(SluisError):
    """It could not be started, or is gone; the text is what it said."""


class Template:
    """`module` is its entry, which calls `template_process.run`. Every method blocks."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def start(self, settings: Settings, seconds: float) -> None:
        """Returns when it has loaded everything. Raises TemplateFailed."""
        self.close()
        ours, theirs = socket.socketpair()
        # Nothing of our environment is a worker's business; the path lets it find Sluis.
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8"}
        # A message's bytes go back to the system when they are done with: glibc's own threshold grows with what was freed (mallopt(3)).
        environment |= {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"}
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", self._module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._connection = ours
        answer = self._exchange(frames.pack({"settings": asdict(told(settings))}), seconds)
        if "problems" in answer:
            self.close()
            raise TemplateFailed("; ".join(answer["problems"]))

    @property
    def alive(self) -> bool:
        """Whether it can fork."""
        return self._connection is not None

    def fork(self, connection: socket.socket) -> int:
        """A worker at this end of a socket pair; gives its process id. Raises TemplateFailed."""
        return int(self._exchange(frames.pack({}), EXCHANGE_SECONDS, connection.fileno())["pid"])

    def end(self, pid: int) -> int:
        """Kills a worker of this template, and gives what it died of, as subprocess does. Once for each: it is gone then. A worker does
        not outlive its template."""
        try:
            return int(self._exchange(frames.pack({"end": pid}), EXCHANGE_SECONDS)["status"])
        except TemplateFailed:
            return -signal.SIGKILL

    def _exchange(self, frame: bytes, seconds: float, descriptor: int | None = None) -> dict[str, Any]:
        if self._connection is None:
            raise TemplateFailed("the process that workers are forked from is gone")
        try:
            self._connection.settimeout(seconds)
            sent = socket.send_fds(self._connection, [frame], [descriptor]) if descriptor is not None else 0
            self._connection.sendall(memoryview(frame)[sent:])
            answer = frames.receive(self._connection)
            if answer is None:
                raise EOFError
        except (OSError, EOFError) as error:
            self.close()
            raise TemplateFailed(f"the process that workers are forked from is gone: {error!r}") from None
        return answer[0]

    def close(self) -> None:
        """Ends it, and with it every worker."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def told(settings: Settings) -> WorkerSettings:
    """What workers are told of the settings."""
    inspection, clamd = settings.inspection, settings.clamd
    return WorkerSettings(
        rules=str(inspection.rules) if inspection.rules is not None else None,
        memory=inspection.memory,
        cpu_seconds=inspection.cpu_seconds,
        header_size=inspection.header_size,
        parts=inspection.parts,
        depth=inspection.depth,
        archive_members=inspection.archive_members,
        archive_bytes=inspection.archive_bytes,
        archive_depth=inspection.archive_depth,
        archive_ratio=inspection.archive_ratio,
        clamd=clamd.socket is not None,
        connect_timeout=clamd.connect_timeout,
        scan_deadline=clamd.deadline,
        cache_entries=clamd.cache_entries,
        cache_seconds=clamd.cache_seconds,
    )
