"""The process that inspect workers are forked from, from inside: it loads what every worker needs, reads no message, and forks.

So workers share their memory (a worker has about 15 MB of its own instead of 45), and one that is replaced costs milliseconds. What they
share as well is where things lie in memory: a worker that dies tells nothing about it, but to the log.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from relay.inspect import frames
from relay.inspect.sandbox import SandboxUnavailable, end_with_parent, hide_memory
from relay.inspect.worker_settings import WorkerSettings
from relay.model.errors import ConfigurationError

Prepared = TypeVar("Prepared")


def run(prepare: Callable[[WorkerSettings], Prepared], work: Callable[[socket.socket, WorkerSettings, Prepared], None]) -> None:
    """Ends with its socket. `prepare` runs once, and leaves no thread behind (a fork would not have it); it may raise ConfigurationError.
    `work` is a worker, from its first word to its end."""
    control = socket.socket(fileno=int(sys.argv[1]))
    first = frames.receive(control)
    if first is None:
        return
    settings = WorkerSettings(**first[0]["settings"])
    try:
        end_with_parent()
        hide_memory()
        prepared = prepare(settings)
    except (ConfigurationError, SandboxUnavailable) as error:
        control.sendall(frames.pack({"problems": str(error).splitlines()}))
        return
    gc.collect()
    gc.freeze()  # a collection would write to every object, and a page that is written to is shared no more
    control.sendall(frames.pack({}))
    while (asked := frames.receive(control)) is not None:
        head, _, descriptor = asked
        control.sendall(frames.pack(_end(int(head["end"])) if descriptor is None else _fork(descriptor, control, settings, prepared, work)))


def _fork(
    descriptor: int,
    control: socket.socket,
    settings: WorkerSettings,
    prepared: Prepared,
    work: Callable[[socket.socket, WorkerSettings, Prepared], None],
) -> dict[str, Any]:
    template = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return {"pid": pid}
    status = 1
    try:
        control.close()
        end_with_parent()
        if os.getppid() == template:  # else it ended before we could hear of it
            work(socket.socket(fileno=descriptor), settings, prepared)
            status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def _end(pid: int) -> dict[str, Any]:
    """Nobody else waits for our children, so that the number is still this one's."""
    os.kill(pid, signal.SIGKILL)
    return {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}
