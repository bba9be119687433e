"""More machines for a story: each with folders, policy, keys and control socket of its own, over the database and the spool of the first.

async with house(tmp_path, database, outside=sink.port, settings=SETTINGS) as one, machine(one, "two") as two:
    reply = await two.send(message())
"""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from relay.settings.load import load_settings
from relay.store.queue import end_leases
from tests.stories.house import House

WAITS_LONG = "SET idle_in_transaction_session_timeout = 0"
"""For a story that holds a lock on purpose: the server would end it after five seconds."""


@asynccontextmanager
async def machine(first: House, name: str, *, started: bool = True) -> AsyncIterator[House]:
    """Another machine of the same installation. At its end no bug may be in its log."""
    home = first.folder.parent / name
    home.mkdir()
    shutil.copytree(first.policies, home / "policies")
    shutil.copytree(first.folder / "keys", home / "keys")
    (home / "secrets").mkdir(mode=0o700)
    made = House(home, load_settings(first.config).store)
    text = first.config.read_text().replace(str(first.socket), str(made.socket))
    made.config.write_text(text.replace('folder = "spool"', f'folder = "{first.folder / "spool"}"'))
    try:
        if started:
            await made.start()
        try:
            yield made
        finally:
            assert await made.stop() == 0, made.log()[-3000:]
        assert '"traceback"' not in made.log(), made.log()[-4000:]
    finally:
        made.close()


@contextmanager
def stopped(one: House) -> Iterator[None]:
    """Its relay stands still (SIGSTOP), and goes on at the end (SIGCONT)."""
    os.kill(one.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(one.pid, signal.SIGCONT)


def run_out(one: House) -> None:
    """The time of all leases goes by. Where their holders stand still or are gone nobody renews them, and where a lease is long nobody
    loses one because the machine is busy."""
    with one._engine.begin() as connection:
        end_leases(connection)
