"""SIGHUP: what a process that runs takes over, in an order in which what is wrong is found before anything has changed."""

import asyncio
from collections.abc import Callable

from relay.app.descriptors import make_room
from relay.app.folder_watch import Say
from relay.app.in_force import InForce
from relay.judge import Alert
from relay.listen.server import Listeners
from relay.model.errors import ConfigurationError
from relay.settings.models import Settings
from relay.store.spool.ports import Spool


async def reload_from(
    read_settings: Callable[[], Settings], in_force: InForce, spool: Spool, listeners: Listeners | None, alert: Alert, say: Say
) -> None:
    """Policy (where the folder says what is in force), the spool's keys, and listeners with their certificates and limits; the rest of the
    settings needs a restart. `listeners` None: this process does not listen.
    Raises ConfigurationError, and then the old ones are in force: a policy never without the certificates that came with it. What was
    wrong is told in the audit, too."""
    try:
        settings = await asyncio.to_thread(read_settings)
        make_room(settings)
        candidate = await in_force.candidate()
        keys = spool.read_keys()
        if listeners is not None:
            await listeners.reload(settings)
        spool.keys = keys
        await (in_force.put(*candidate) if candidate is not None else in_force.refresh())
    except ConfigurationError as error:
        alert("reload-refused", problems=error.problems[:20])
        await say("reload", "refused", "; ".join(error.problems)[:1000])
        raise
    await say("reload", "done", in_force.unavailable() or f"policy {in_force.current()[1].policy}")
