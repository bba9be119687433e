"""A relay that looks through what is held leaves the machine to the mail."""

import asyncio
import time
import uuid
from typing import Any

from relay.app.recall import Recall
from relay.model.decision import Epoch

PAGES = 40
WORK_SECONDS = 0.005


class Backlog:
    """A reader of pages that have nothing to bring back; each takes WORK_SECONDS of CPU. `read_all` is set with the last of PAGES."""

    def __init__(self) -> None:
        self.pages = 0
        self.read_all = asyncio.Event()

    async def read(self, _work: Any) -> tuple[list[Any], uuid.UUID | None]:
        self.pages += 1
        until = time.thread_time() + WORK_SECONDS
        while time.thread_time() < until:
            pass
        if self.pages == PAGES:
            self.read_all.set()
            return [], None
        return [], uuid.UUID(int=self.pages)


class Open:
    """In force: one epoch, no brake."""

    def stopped(self) -> bool:
        return False

    def current(self) -> tuple[None, Epoch]:
        return None, Epoch("p", "open")


async def look_through(backlog: Backlog) -> None:
    unused: Any = None
    in_force: Any = Open()
    reader: Any = backlog
    recall = Recall(unused, reader, unused, in_force, 0, lambda: None, late=3600)
    running = asyncio.create_task(recall.run())
    recall.begin()
    await backlog.read_all.wait()
    running.cancel()


def test_a_backlog_of_which_nothing_comes_back_takes_a_part_of_one_core() -> None:
    async def story() -> float:
        begun, used = time.monotonic(), time.thread_time()
        await look_through(Backlog())
        return (time.thread_time() - used) / (time.monotonic() - begun)

    assert asyncio.run(story()) < 0.5
