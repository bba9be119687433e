"""`sluis serve`: runs the relay until SIGTERM or SIGINT; SIGHUP reads settings and policy again."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import click
import uvloop

from relay.app.allocator import keep_some_freed_memory
from relay.app.app import App, Role
from relay.app.part import Part
from relay.app.supervisor import Supervisor
from relay.app.systemd import beat, tell
from relay.cli.common import config_option, problems_told, settings_from
from relay.cli.operations import OPERATIONS
from relay.inspect.sandbox import end_with_parent, hide_memory
from relay.model.errors import ConfigurationError, SluisError
from relay.observe.log import configure
from relay.settings.load import load_settings
from relay.settings.models import Settings
from relay.store.engine import must_be_made

log = logging.getLogger("sluis.serve")
# What others may do with files that are made from here on. Two services under users of their own share the spool by their group; private
# keys are made 0600 whatever stands here.
UMASKS = {Role.ALL: 0o077, Role.LISTEN: 0o007, Role.DELIVER: 0o007}


@click.command()
@config_option
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.ALL.value,
    show_default=True,
    help="listen: accept mail, without the spool's private key; deliver: the queue, the control socket, what people steer",
)
@click.option("--part", hidden=True, help="what a parent gives to the processes that it starts")
def command(config: Path, role: str, part: str | None) -> None:
    """Run the relay. SIGTERM stops it gracefully, SIGHUP reads settings, certificates and policy again."""
    hide_memory()
    keep_some_freed_memory()
    settings = settings_from(config)
    own = Part.from_json(part) if part is not None else None
    configure(settings.log.level, own.name if own else "")
    with problems_told():
        if own is not None:
            end_with_parent()
            if os.getppid() != own.parent:
                raise SluisError("the parent of this process is gone")
            uvloop.run(_serve(settings, config, Role(role), own))
            return
        os.umask(UMASKS[Role(role)])
        if settings.processes > 1 and Role(role) is not Role.DELIVER:
            code = asyncio.run(_supervise(settings, delivers=Role(role) is Role.ALL))
            if code:
                raise SluisError(f"a process ended with exit code {code}")
        else:
            uvloop.run(_serve(settings, config, Role(role)))


async def _supervise(settings: Settings, *, delivers: bool) -> int:
    """Until a signal, and all processes have ended; gives the exit code. Raises SluisError where one can't start."""
    must_be_made(settings.store)
    supervisor = Supervisor(settings, delivers=delivers)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
    await supervisor.start()
    async with _told_to_live():
        await stop.wait()
        tell("STOPPING=1")
        return await supervisor.stop()


async def _serve(settings: Settings, config: Path, role: Role, part: Part | None = None) -> None:
    """Raises SluisError where it can't start."""
    must_be_made(settings.store)
    loop = asyncio.get_running_loop()
    stop, reload = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    app = App(settings, OPERATIONS, role, part)
    await app.start()
    async with _told_to_live():
        while not stop.is_set():
            waiting = [asyncio.create_task(event.wait()) for event in (stop, reload)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            if reload.is_set():
                reload.clear()
                await _reload(app, config)
        tell("STOPPING=1")
        await app.stop()


@contextlib.asynccontextmanager
async def _told_to_live() -> AsyncIterator[None]:
    """Whoever started this process hears that it is ready, and then that it lives, also while it stops."""
    tell("READY=1")
    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


async def _reload(app: App, config: Path) -> None:
    """What is wrong is said in the log and in the audit; then the old stays in force."""
    try:
        await app.reload(partial(load_settings, config))
    except ConfigurationError as error:
        for problem in error.problems:
            log.error("not reloaded", extra={"fields": {"problem": problem}})
    except SluisError as error:
        log.error("not reloaded", extra={"fields": {"problem": str(error)}})
    else:
        log.info("reloaded")
