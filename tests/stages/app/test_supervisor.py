"""The parent of several processes: it ends who gives no sign of life, and nobody else."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from relay.app.supervisor import Supervisor
from relay.settings.models import Http, Settings, Store
from tests.stories.house import until

SILENCE = 3.0  # for which a process that lives may get no turn on a busy machine
PROGRAM = """
import asyncio, signal, sys
from relay.app.systemd import beat, tell

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    with open(sys.argv[1], "a") as pids:
        pids.write(f"{__import__('os').getpid()}\\n")
    tell("READY=1")
    await beat()

try:
    asyncio.run(main())
except asyncio.CancelledError:
    pass
"""


@asynccontextmanager
async def supervised(folder: Path) -> AsyncIterator[tuple[Supervisor, Path]]:
    """Two processes that do nothing but say that they live; the file has the process id of each that was started."""
    pids = folder / "pids"
    store = Store(url="postgresql+psycopg://nobody@/nothing")
    settings = Settings(hostname="relay.example", store=store, processes=2, http=Http(address="127.0.0.1:0"))
    settings = settings.model_copy(update={"delivery": settings.delivery.model_copy(update={"lease": SILENCE})})
    supervisor = Supervisor(settings, delivers=False, words=[sys.executable, "-c", PROGRAM, str(pids)], least_silence=SILENCE)
    await supervisor.start()
    try:
        yield supervisor, pids
    finally:
        await supervisor.stop()


def started(pids: Path) -> list[int]:
    return [int(line) for line in pids.read_text().split()]


def test_a_process_that_stands_still_is_ended_and_started_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervised(tmp_path) as (supervisor, pids):
            first = started(pids)
            os.kill(first[0], signal.SIGSTOP)
            await until(lambda: len(started(pids)) == 3, "a third process")
            assert (sorted(supervisor._restarts().values()), supervisor._alerts.counts) == (
                [0, 1],
                {"process-silent": 1, "process-died": 1},
            )
            assert not Path(f"/proc/{first[0]}").exists()

    asyncio.run(story())


def test_a_process_that_lives_is_left_alone_however_long_it_lives(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervised(tmp_path) as (supervisor, pids):
            await asyncio.sleep(1.4 * SILENCE)  # that nothing happens can't be awaited
            assert (len(started(pids)), supervisor._alerts.counts) == (2, {})

    asyncio.run(story())


def test_a_parent_that_stood_still_with_its_processes_blames_none_of_them(tmp_path: Path) -> None:
    """As on a machine that was frozen for a while."""

    async def story() -> None:
        async with supervised(tmp_path) as (supervisor, pids):
            for pid in started(pids):
                os.kill(pid, signal.SIGSTOP)
            time.sleep(1.2 * SILENCE)  # the parent, too: its event loop does not turn
            for pid in started(pids):
                os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(SILENCE / 2)  # whom it blames it ends at its next look
            assert (len(started(pids)), supervisor._alerts.counts) == (2, {})

    asyncio.run(story())
