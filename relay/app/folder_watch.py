"""Sees that the policy folder changed, and puts it in force if it is good: where the settings let the folder say so."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from relay.app.in_force import InForce
from relay.judge import Alert
from relay.model.errors import ConfigurationError, SluisError

log = logging.getLogger("sluis.policy")
LOOK_SECONDS = 1.0
"""Between two looks, which must agree: an editor, or a checkout of many files, is not done after the first."""

Say = Callable[[str, str, str], Awaitable[None]]
"""Writes an event: kind, result, reason."""


class FolderWatch:
    """Of one process. A bad folder changes nothing, and is told once for each change."""

    def __init__(self, folder: Path, in_force: InForce, alert: Alert, say: Say, every: float = LOOK_SECONDS) -> None:
        self._folder = folder
        self._in_force = in_force
        self._alert = alert
        self._say = say
        self._every = every
        self._done = stamp(folder)

    async def run(self) -> None:
        """Until it is cancelled."""
        before = self._done
        while True:
            await asyncio.sleep(self._every)
            found = await asyncio.to_thread(stamp, self._folder)
            if found == before != self._done:
                with contextlib.suppress(SluisError):  # a store that is away, or another machine at this moment: the next look tries again
                    await self._take()
                    self._done = found
            before = found

    async def _take(self) -> None:
        try:
            candidate = await self._in_force.candidate()
            if candidate is not None:
                await self._in_force.put(*candidate)
        except ConfigurationError as error:
            self._alert("policy-refused", problems=error.problems[:20])
            await self._say("reload", "refused", "; ".join(error.problems)[:1000])
            return
        log.info("the policy folder changed, and is in force")
        await self._say("reload", "done", "the policy folder changed")


def stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What every write to a file changes, and every file that comes or goes. What can't be read is told when the folder is."""
    found = []
    for parent, folders, files in os.walk(folder):  # which goes on where a folder went at this moment
        for name in (*folders, *files):
            with contextlib.suppress(OSError):  # so did this
                state = (path := Path(parent, name)).stat()
                found.append((str(path), state.st_ino, state.st_mtime_ns, state.st_size))
    return tuple(sorted(found))
