"""The pool of workers: hands out messages, kills what takes too long, and says what a death means."""

import asyncio
import logging
import signal
import time

from relay.inspect.budget import ByteBudget
from relay.inspect.idle import Idle
from relay.inspect.template import Template, TemplateFailed
from relay.inspect.worker import BadAnswer, BodyMissing, InspectJob, Worker
from relay.model.errors import SluisError
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind
from relay.settings.models import Settings

__all__ = ["InspectJob", "InspectPool", "WorkerFailed"]

log = logging.getLogger("sluis.inspect")
START_SECONDS = 60.0
SMOOTHING = 0.1
INSPECTOR = "inspect"


class WorkerFailed(SluisError):
    """The worker could not be started, or ended before it was ready."""


class InspectPool:
    """`module` is the worker's entry (the composition root names it). `waiting` counts the messages that wait for a
    worker; `crashes` and `killed` are for metrics."""

    def __init__(self, settings: Settings, module: str) -> None:
        self._settings = settings
        self._module = module
        self._template = Template(module)
        self._starting = asyncio.Lock()
        self._idle: Idle[Worker | None] = Idle()
        self._workers: set[Worker] = set()
        self._refills: set[asyncio.Task[None]] = set()
        self._budget = ByteBudget(settings.inspection.bytes_in_flight)
        self._gap = 0.0  # seconds between two answers while others wait, as a moving average
        self._answered = time.monotonic()
        self.waiting = 0
        self._closed = False
        self.crashes = 0
        self.killed = 0
        self.unavailable: dict[str, str] = {}

    async def start(self) -> None:
        """Starts every worker. Raises WorkerFailed with what the first one said, such as a bad rule; then none is left."""
        started = await asyncio.gather(*(self._spawn() for _ in range(self._settings.inspection.workers)), return_exceptions=True)
        for worker in started:
            if isinstance(worker, BaseException):
                await self.close()
                raise worker
            self._idle.put(worker)

    async def _spawn(self) -> Worker:
        async with self._starting:
            if not self._template.alive:
                await self._start_template()
        try:
            worker = Worker(self._template, self._settings.clamd)
        except TemplateFailed as error:
            raise WorkerFailed(str(error)) from None
        self._workers.add(worker)
        try:
            async with asyncio.timeout(START_SECONDS):
                answer = await worker.ready()
        except (OSError, EOFError, TimeoutError, BadAnswer) as error:
            self._drop(worker)
            raise WorkerFailed(f"an inspect worker did not start: {error!r}") from None
        except BaseException:
            self._drop(worker)
            raise
        if "problems" in answer:
            self._drop(worker)
            raise WorkerFailed("; ".join(answer["problems"]))
        self.unavailable = dict(answer["unavailable"])
        return worker

    async def _start_template(self) -> None:
        """A second or two: in a thread."""
        template = Template(self._module)
        starting = asyncio.get_running_loop().run_in_executor(None, template.start, self._settings, START_SECONDS)
        try:
            await asyncio.shield(starting)
        except TemplateFailed as error:
            raise WorkerFailed(str(error)) from None
        except BaseException:
            starting.add_done_callback(lambda _: template.close())
            raise
        self._template = template

    def _drop(self, worker: Worker) -> int:
        self._workers.discard(worker)
        return worker.kill()

    async def inspect(self, job: InspectJob) -> Inspection:
        """Never raises: what can't be inspected is a finding, or an inspector that is not available."""
        if self._closed or self.waiting >= self._settings.inspection.queue:
            return _unavailable()
        if not self.waiting:
            self._answered = time.monotonic()
        self.waiting += 1
        taken = False
        try:
            try:
                async with asyncio.timeout(self._settings.inspection.patience):
                    await self._budget.take(job.size)
                    taken = True
                    worker = await self._idle.take()
            finally:
                self.waiting -= 1
            return await self._by(worker, job)
        except TimeoutError:
            return _unavailable()
        finally:
            self._note_answer()
            if taken:
                self._budget.give(job.size)

    def _note_answer(self) -> None:
        now = time.monotonic()
        if self.waiting:
            self._gap += SMOOTHING * (now - self._answered - self._gap)
        self._answered = now

    @property
    def expected_wait(self) -> float:
        """Seconds until a message that came now would have a worker."""
        if not self.waiting:
            return 0.0
        return max(self.waiting * self._gap, time.monotonic() - self._answered)

    @property
    def in_flight(self) -> int:
        """Octets of large messages that are being inspected."""
        return self._budget.in_flight

    async def _by(self, worker: Worker | None, job: InspectJob) -> Inspection:
        if worker is None:  # one that could not be started again: try once more, for this message
            try:
                worker = await self._spawn()
            except WorkerFailed as error:
                self._idle.put(None)
                log.error("an inspect worker could not be started", extra={"fields": {"error": str(error)}})
                return _unavailable()
            except BaseException:
                self._idle.put(None)
                raise
        return await self._with(worker, job)

    async def _with(self, worker: Worker, job: InspectJob) -> Inspection:
        try:
            async with asyncio.timeout(self._settings.inspection.deadline):
                inspection = await worker.inspect(job)
        except BodyMissing as error:
            self._idle.put(worker)
            log.error("a body can't be opened", extra={"fields": {"object": job.object, "error": str(error)}})
            return _unavailable()
        except TimeoutError:
            self.killed += 1
            self._replace(worker)
            return _undecidable(Kind.LIMIT, "time")
        except (OSError, EOFError, BadAnswer) as error:
            self.crashes += 1
            died = self._replace(worker)
            log.error("an inspect worker died", extra={"fields": {"object": job.object, "status": died, "error": str(error)}})
            if died == -signal.SIGXCPU:
                return _undecidable(Kind.LIMIT, "cpu-time")
            return _undecidable(Kind.CRASH, "worker-died")
        except BaseException:
            # Cancelled in the middle of an exchange: the worker would answer the next message with this one's verdict.
            self._replace(worker)
            raise
        worker.jobs += 1
        # One that met its limit may keep much of it (what small pieces lie between), beside another that is given as much.
        if worker.jobs >= self._settings.inspection.jobs_per_worker or _MEMORY in inspection.findings:
            self._replace(worker)
        else:
            self._idle.put(worker)
        self.unavailable = dict.fromkeys(inspection.unavailable, "see the log")
        return inspection

    def _replace(self, worker: Worker) -> int:
        """Gives what it died of. The next one starts while this message is answered."""
        status = self._drop(worker)
        task = asyncio.get_running_loop().create_task(self._refill())
        self._refills.add(task)
        task.add_done_callback(self._refills.discard)
        return status

    async def _refill(self) -> None:
        if self._closed:
            return
        try:
            self._idle.put(await self._spawn())
        except WorkerFailed as error:
            log.error("an inspect worker could not be started", extra={"fields": {"error": str(error)}})
            self._idle.put(None)

    @property
    def busy(self) -> int:
        """Workers that are at a message, or on their way."""
        return len(self._workers) - len(self._idle)

    def status(self) -> dict[str, str]:
        """Inspectors that did not answer lately, and why; empty when all is well."""
        return dict(self.unavailable)

    async def close(self) -> None:
        """Kills every worker."""
        self._closed = True
        for task in self._refills:
            task.cancel()
        await asyncio.gather(*self._refills, return_exceptions=True)
        for worker in list(self._workers):
            self._drop(worker)
        self._template.close()


_MEMORY = Finding(Kind.LIMIT, INSPECTOR, "memory")


def _unavailable() -> Inspection:
    return Inspection(Header(), unavailable=(INSPECTOR,))


def _undecidable(kind: Kind, name: str) -> Inspection:
    return Inspection(Header(), findings=(Finding(kind, INSPECTOR, name),))
