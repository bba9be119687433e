"""Several processes on one machine: a parent that binds the sockets, starts the others, starts again what dies, ends and starts again
what gives no sign of life, and passes signals on.

One process delivers, `processes` listen: each has sockets of its own on the same ports, so that the kernel spreads connections over them.
The parent keeps these sockets open: what waits on one whose process has died is accepted by the next. It opens no store, and sees no mail.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from relay.app.part import Part
from relay.listen.sockets import bind_shared
from relay.model.errors import ConfigurationError, SluisError
from relay.observe.alerts import Alerts
from relay.observe.gathered import Gathered
from relay.observe.http import HttpServer
from relay.settings.models import Settings
from relay.store.engine import sqlite_path

log = logging.getLogger("sluis.serve")
START_SECONDS = 120.0
STOP_SECONDS = 80.0
"""What is being received and delivered comes to its end, which may take 30 seconds each; below TimeoutStopSec of the unit."""
BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a process that died is started again: longer each time, and short again for one that lived longer than the last."""
LEAST_SILENCE_SECONDS = 10.0
"""A process that is silent for longer than a lease is ended: until then nobody could have taken its deliveries over. Not after less than
this, for a machine that has no time is not hung."""
LOOKS = 4
DELIVERS, LISTENS = "deliver", "listen"


class ProcessFailed(SluisError):
    """A process of the relay did not start."""


class _Child:
    """One process, started again when it ends. `words` are its command line; `told` the socket on which it says that it is ready and that
    it lives; `silence` the seconds without such a word after which it is ended."""

    def __init__(self, words: Sequence[str], part: Part, role: str, told: Path, alerts: Alerts, silence: float) -> None:
        self._words = [*words, "--role", role, "--part", part.to_json()]
        self._part = part
        self.name = part.name
        self._told = told
        self._alerts = alerts
        self._silence = silence
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[int] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.restarts = 0

    async def start(self) -> None:
        """Returns when it is ready. Raises ProcessFailed."""
        await self._spawn()
        self._watch = asyncio.create_task(self._keep())

    async def _spawn(self) -> None:
        """Returns when it is ready; from then on it is watched. Raises ProcessFailed."""
        self._told.unlink(missing_ok=True)
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            told.setblocking(False)
            told.bind(str(self._told))
            descriptors = [descriptor for group in self._part.sockets.values() for descriptor in group]
            watched = {"NOTIFY_SOCKET": str(self._told), "WATCHDOG_USEC": str(int(self._silence * 1e6))}
            # WATCHDOG_PID would be of systemd's watch over this process.
            environment = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"} | watched
            self._process = await asyncio.create_subprocess_exec(*self._words, pass_fds=descriptors, env=environment)
            ready = asyncio.create_task(asyncio.get_running_loop().sock_recv(told, 100))
            ended = asyncio.create_task(self._process.wait())
            await asyncio.wait((ready, ended), timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            started = ready.done()
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
        except BaseException:
            told.close()
            raise
        if not started:
            told.close()
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            code = await self._process.wait()
            raise ProcessFailed(f"the process {self.name} did not start (exit code {code}); its log says why")
        self._listening = asyncio.create_task(self._end_if_silent(told, self._process))

    async def _end_if_silent(self, told: socket.socket, process: asyncio.subprocess.Process) -> None:
        """Ends a process that hangs or was stopped: as if it had died by itself, for all else. Silence is counted in looks of a part of
        the time, so that a parent which stood still itself does not blame the others."""
        looks = 0
        with contextlib.closing(told):
            while looks < LOOKS:
                try:
                    async with asyncio.timeout(self._silence / LOOKS):
                        await asyncio.get_running_loop().sock_recv(told, 100)
                    looks = 0
                except TimeoutError:
                    looks += 1
            self._alerts("process-silent", process=self.name, seconds=self._silence)
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _keep(self) -> int:
        """Until it is stopped; gives its exit code."""
        assert self._process is not None
        failures = 0
        while True:
            since = time.monotonic()
            code = await self._process.wait()
            assert self._listening is not None
            self._listening.cancel()
            if self._stopping.is_set():
                return code
            failures = 0 if time.monotonic() - since > BACKOFF[-1] else failures
            self._alerts("process-died", process=self.name, exit_code=code)
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), BACKOFF[min(failures, len(BACKOFF) - 1)])
                if self._stopping.is_set():
                    return 0
                failures += 1
                self.restarts += 1
                try:
                    await self._spawn()
                    break
                except ProcessFailed as error:
                    log.error("a process does not start", extra={"fields": {"process": self.name, "error": str(error)}})

    def send(self, number: signal.Signals) -> None:
        """A signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL for one that does not end in time; gives its exit code."""
        self._stopping.set()
        if self._listening is not None:
            self._listening.cancel()  # it has STOP_SECONDS now, and the last of its work is done in silence
        self.send(signal.SIGTERM)
        if self._watch is None:
            return 0
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await asyncio.shield(self._watch)
        except TimeoutError:
            log.error("a process did not stop in time", extra={"fields": {"process": self.name}})
            self.send(signal.SIGKILL)
            return await self._watch


class Supervisor:
    """`words` are the command line of `serve`, to which each process gets its part. `delivers`: whether one of them delivers.
    `least_silence`: seconds for which any process may be silent, however short a lease is."""

    def __init__(
        self, settings: Settings, *, delivers: bool, words: Sequence[str] = (), least_silence: float = LEAST_SILENCE_SECONDS
    ) -> None:
        if sqlite_path(settings.store) is not None:
            raise ConfigurationError(["processes: on SQLite one process does everything; several need PostgreSQL"])
        self._settings = settings
        self._delivers = delivers
        self._silence = max(settings.delivery.lease, least_silence)
        self._words = list(words) or [sys.executable, *sys.orig_argv[1:]]
        self._alerts = Alerts()
        self._children: list[_Child] = []
        self._sockets: list[socket.socket] = []
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Returns when all processes are ready. Raises ConfigurationError, ProcessFailed; what was started is stopped then."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="sluis-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        names = [f"listen-{number}" for number in range(1, self._settings.processes + 1)]
        sockets: list[dict[str, list[int]]] = [{} for _ in names]
        bound: list[str] = []
        for listener in self._settings.listeners:
            for group in bind_shared(listener, len(names)):
                host, port = group[0].getsockname()[:2]
                bound.append(f"{listener.name} {host}:{port}")
                for item, descriptors in zip(group, sockets, strict=True):
                    self._sockets.append(item)
                    descriptors.setdefault(listener.name, []).append(item.fileno())
        every = [DELIVERS, *names] if self._delivers else names
        http = HttpServer(self._settings.http, Gathered({name: folder / name for name in every}, self._restarts))
        await http.start()
        self._stack.push_async_callback(http.close)
        if self._settings.http.address:
            bound.insert(0, f"http :{http.port}")
        if self._delivers:  # it puts the policy in force, which the others need
            await self._child(folder, Part(DELIVERS, {}, str(folder / DELIVERS), os.getpid()), DELIVERS).start()
        parts = [Part(name, its, str(folder / name), os.getpid()) for name, its in zip(names, sockets, strict=True)]
        children = [self._child(folder, part, LISTENS) for part in parts]
        started = await asyncio.gather(*(child.start() for child in children), return_exceptions=True)
        for error in started:
            if error is not None:
                raise error
        log.info("started", extra={"fields": {"sockets": bound, "processes": len(self._children)}})

    def _child(self, folder: Path, part: Part, role: str) -> _Child:
        child = _Child(self._words, part, role, folder / f"{part.name}.told", self._alerts, self._silence)
        self._children.append(child)
        return child

    def _restarts(self) -> dict[str, int]:
        return {child.name: child.restarts for child in self._children}

    def reload(self) -> None:
        """SIGHUP to all."""
        for child in self._children:
            child.send(signal.SIGHUP)

    async def stop(self) -> int:
        """SIGTERM to all, and waits for them; gives the highest exit code, 1 for one that was killed."""
        for item in self._sockets:
            item.close()
        codes = await asyncio.gather(*(child.stop() for child in self._children))
        await self._stack.aclose()
        return max((1 if code < 0 else code for code in codes), default=0)
