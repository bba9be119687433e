"""The pool of workers: hands out messages, kills what takes too long, and says what a death means."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.inspect import frames
from relay.model.errors import SluisError
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind
from relay.settings.models import Settings

log = logging.getLogger("sluis.inspect")
START_SECONDS = 60.0
INSPECTOR = "inspect"


@dataclass(frozen=True, slots=True)
class InspectJob:
    """A message: its bytes, or the spool file and the key of this one body. `object` is the spool object's name."""

    object: str
    size: int
    authserv_id: str
    body: bytes | None = None
    path: Path | None = None
    key: bytes | None = None


class WorkerFailed(SluisError):
    """The worker could not be started, or ended before it was ready."""


class _Worker:
    """One process and its socket."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self.process = process
        self.connection = connection
        self.jobs = 0

    def kill(self) -> int:
        """Ends it; gives what it died of."""
        self.connection.close()
        self.process.kill()
        return self.process.wait()


class InspectPool:
    """`module` is the worker's entry (the composition root names it). `crashes` and `killed` are for metrics."""

    def __init__(self, settings: Settings, module: str) -> None:
        self._settings = settings
        self._module = module
        self._idle: asyncio.Queue[_Worker | None] = asyncio.Queue()
        self._workers: set[_Worker] = set()
        self._waiting = 0
        self._closed = False
        self.crashes = 0
        self.killed = 0
        self.unavailable: dict[str, str] = {}

    async def start(self) -> None:
        """Starts every worker. Raises WorkerFailed with what the first one said, such as a rule that does not compile."""
        for worker in await asyncio.gather(*(self._spawn() for _ in range(self._settings.inspection.workers))):
            self._idle.put_nowait(worker)

    async def _spawn(self) -> _Worker:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        # Nothing of our environment is a worker's business; the path lets it find Sluis.
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8"}
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own module; a few milliseconds, when a worker is replaced
            [sys.executable, "-P", "-m", self._module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.add(worker)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(START_SECONDS):
                await loop.sock_sendall(ours, frames.pack({"settings": self._settings.model_dump(mode="json")}))
                answer = await _answer(ours)
        except (OSError, EOFError, TimeoutError) as error:
            self._drop(worker)
            raise WorkerFailed(f"an inspect worker did not start: {error!r}") from None
        if "problems" in answer:
            self._drop(worker)
            raise WorkerFailed("; ".join(answer["problems"]))
        self.unavailable = answer["unavailable"]
        return worker

    def _drop(self, worker: _Worker) -> int:
        self._workers.discard(worker)
        return worker.kill()

    async def inspect(self, job: InspectJob) -> Inspection:
        """Never raises: what can't be inspected is a finding, or an inspector that is not available."""
        if self._closed or self._waiting >= self._settings.inspection.queue:
            return _unavailable()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.inspection.deadline):
                worker = await self._idle.get()
        except TimeoutError:
            return _unavailable()
        finally:
            self._waiting -= 1
        if worker is None:  # one that could not be started again: try once more, for this message
            try:
                worker = await self._spawn()
            except WorkerFailed as error:
                log.error("an inspect worker could not be started", extra={"fields": {"error": str(error)}})
                self._idle.put_nowait(None)
                return _unavailable()
        return await self._with(worker, job)

    async def _with(self, worker: _Worker, job: InspectJob) -> Inspection:
        try:
            async with asyncio.timeout(self._settings.inspection.deadline):
                inspection = await _exchange(worker, job)
        except TimeoutError:
            self.killed += 1
            self._drop(worker)
            await self._replace()
            return _undecidable(Kind.LIMIT, "time")
        except (OSError, EOFError):
            self.crashes += 1
            died = self._drop(worker)
            await self._replace()
            log.error("an inspect worker died", extra={"fields": {"object": job.object, "status": died}})
            if died == -signal.SIGXCPU:
                return _undecidable(Kind.LIMIT, "cpu-time")
            return _undecidable(Kind.CRASH, "worker-died")
        except BaseException:
            # Cancelled in the middle of an exchange: the worker would answer the next message with this one's verdict.
            self._drop(worker)
            await asyncio.shield(self._replace())
            raise
        worker.jobs += 1
        if worker.jobs >= self._settings.inspection.jobs_per_worker:
            self._drop(worker)
            await self._replace()
        else:
            self._idle.put_nowait(worker)
        self.unavailable = dict.fromkeys(inspection.unavailable, "see the log")
        return inspection

    async def _replace(self) -> None:
        if self._closed:
            return
        try:
            self._idle.put_nowait(await self._spawn())
        except WorkerFailed as error:
            log.error("an inspect worker could not be started", extra={"fields": {"error": str(error)}})
            self._idle.put_nowait(None)

    def status(self) -> dict[str, str]:
        """Inspectors that did not answer lately, and why; empty when all is well."""
        return dict(self.unavailable)

    async def close(self) -> None:
        self._closed = True
        for worker in list(self._workers):
            with contextlib.suppress(ProcessLookupError):
                self._drop(worker)


async def _exchange(worker: _Worker, job: InspectJob) -> Inspection:
    """One message. Large ones go as a descriptor and a key: the plain bytes are in no file and in no second process."""
    loop = asyncio.get_running_loop()
    head = {"object": job.object, "size": job.size, "authserv_id": job.authserv_id}
    if job.body is not None:
        await loop.sock_sendall(worker.connection, frames.pack(head, job.body))
    else:
        assert job.path is not None
        assert job.key is not None
        frame = frames.pack(head | {"key": job.key.hex()})
        descriptor = os.open(job.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sent = socket.send_fds(worker.connection, [frame], [descriptor])
        finally:
            os.close(descriptor)
        await loop.sock_sendall(worker.connection, frame[sent:])
    return Inspection.from_json(await _answer(worker.connection))


async def _answer(connection: socket.socket) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    size, _ = frames.LENGTH.unpack(await _exactly(loop, connection, frames.LENGTH.size))
    if size > frames.MAX_HEAD:
        raise EOFError
    answer: dict[str, Any] = json.loads(await _exactly(loop, connection, size))
    return answer


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        piece = await loop.sock_recv(connection, min(size - len(pieces), 1024 * 1024))
        if not piece:
            raise EOFError
        pieces += piece
    return bytes(pieces)


def _unavailable() -> Inspection:
    return Inspection(Header(), unavailable=(INSPECTOR,))


def _undecidable(kind: Kind, name: str) -> Inspection:
    return Inspection(Header(), findings=(Finding(kind, INSPECTOR, name),))
