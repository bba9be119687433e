"""Keeps a task of the whole process going: a bug in it is told, and it begins again, for nobody else does its work."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger("sluis.app")
PAUSE_SECONDS = 1.0
"""Between two beginnings, so that a bug does not spin."""


async def kept_up(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Until `work` returns, or this is cancelled."""
    while True:
        try:
            return await work()
        except Exception:
            log.exception("a task of the process failed, and begins again", extra={"fields": {"task": getattr(work, "__qualname__", "")}})
        await asyncio.sleep(PAUSE_SECONDS)
