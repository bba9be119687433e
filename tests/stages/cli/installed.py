"""An installation whose relay is down, and the commands on it: each takes the writer's lock and does its work itself."""

import asyncio
import inspect
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from relay.cli import main
from relay.settings.models import Store
from tests.stages.control.desk import Desk, desk
from tests.stages.policy.texts import FILES

SETTINGS = """\
hostname = "relay.example.nl"
policies = "policies"
secrets = "secrets"
dkim_keys = "keys/dkim"
logins = "secrets/logins"
store = {{url = "{url}"}}
spool = {{folder = "spool", public_key = "keys/spool.pub", private_keys = "keys/spool"}}
control = {{socket = "control.sock"}}
"""


@dataclass(frozen=True)
class Installed:
    """`config` is the settings file."""

    config: Path

    def run(self, *words: str, stdin: str | None = None) -> Result:
        """A command; nothing that escapes it as a traceback is let through."""
        result = CliRunner().invoke(main, [*words, "--config", str(self.config)], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    def json(self, *words: str) -> Any:
        """What a command prints with --json."""
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)


def installed(folder: Path, store: Store, fill: Callable[[Desk], Any] | None = None) -> tuple[Installed, Any]:
    """`fill` puts messages in; what it gives is given back."""

    async def made() -> Any:
        async with desk(folder, store) as at:
            filled = fill(at) if fill else None
            return await filled if inspect.isawaitable(filled) else filled

    filled = asyncio.run(made())
    for name, text in FILES.items():
        path = folder / "policies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "secrets").mkdir(mode=0o700)
    config = folder / "sluis.toml"
    config.write_text(SETTINGS.format(url=store.url))
    return Installed(config), filled


def sqlite_copy(template: Path, folder: Path) -> Store:
    """A migrated store in a folder of its own."""
    shutil.copytree(template, folder / "store")
    return Store(url=f"sqlite:///{folder / 'store' / 'sluis.db'}")
