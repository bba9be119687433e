"""The folder that the demonstration plays in: settings, policy, keys and an empty store; and the relay process."""

import asyncio
import json
import sys
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from shutil import copytree

from relay.model.errors import SluisError
from relay.settings.load import load_settings
from relay.sign.new_key import new_key
from relay.store import schema
from relay.store.engine import open_engine
from relay.store.spool.keys import new_keypair

START_SECONDS = 90
STOP_SECONDS = 60


class DemoFailed(SluisError):
    """The relay of the demonstration did not start, or did not stop."""


def set_up(folder: Path, outside_port: int) -> Path:
    """Writes everything that `sluis serve` needs into `folder`. Gives the settings file."""
    with as_file(files("relay") / "demo") as source:
        copytree(source / "policies", folder / "policies")
        (folder / "sluis.toml").write_bytes((source / "sluis.toml").read_bytes())
    routes = folder / "policies" / "routes.yaml"
    routes.write_text(routes.read_text().replace("@OUTSIDE@", str(outside_port)))
    settings = load_settings(folder / "sluis.toml")
    assert settings.spool.private_keys is not None
    new_keypair(settings.spool.public_key, settings.spool.private_keys)
    for selector, algorithm in (("rsa", "rsa-sha256"), ("ed", "ed25519-sha256")):
        new_key(settings.dkim_keys, "prosecution.example", selector, algorithm, 2048)
    engine = open_engine(settings.store)
    try:
        schema.upgrade(engine)
    finally:
        engine.dispose()
    return folder / "sluis.toml"


class Relay:
    """`sluis serve` in a process of its own, with `words` on its command line; its log goes to `sluis.log` in the folder. `module` is the
    Python module that is the program."""

    def __init__(self, config: Path, *words: str, module: str = "relay") -> None:
        self._config = config
        self._module = module
        self._words = words
        self._log = config.parent / "sluis.log"
        self._process: asyncio.subprocess.Process | None = None
        self._copying: asyncio.Task[None] | None = None
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Returns when it listens. Raises DemoFailed with the end of its log."""
        self._process = await self._launch(["serve", "--config", str(self._config), *self._words], self._module)
        started = asyncio.get_running_loop().create_future()
        self._copying = asyncio.create_task(self._copy(started))
        try:
            async with asyncio.timeout(START_SECONDS):
                self.ports = await started
        except (TimeoutError, EOFError):
            await self.stop()
            end = self._log.read_text().splitlines()[-5:]
            raise DemoFailed("the relay did not start:\n" + "\n".join(end)) from None

    async def _launch(self, words: list[str], module: str) -> asyncio.subprocess.Process:
        """`python -m MODULE WORDS`, with its errors to read."""
        return await asyncio.create_subprocess_exec(sys.executable, "-m", module, *words, stderr=asyncio.subprocess.PIPE)

    async def _copy(self, started: "asyncio.Future[dict[str, int]]") -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._log.open("ab", buffering=0) as log:
            while line := await self._process.stderr.readline():
                log.write(line)
                if not started.done() and (ports := _ports(line)):
                    started.set_result(ports)
        if not started.done():
            started.set_exception(EOFError())

    async def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            raise DemoFailed("the relay did not stop in time") from None
        if self._copying is not None:
            await asyncio.gather(self._copying, return_exceptions=True)
        return code

    async def wait(self) -> int:
        """Until it ends by itself."""
        assert self._process is not None
        return await self._process.wait()


def _ports(line: bytes) -> dict[str, int]:
    """Name of each socket to its port, from the line that says that the relay has started."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(value, dict) or value.get("event") != "started":
        return {}
    return {text.partition(" ")[0]: int(text.rpartition(":")[2]) for text in value["sockets"]}
