"""A machine with settings, a store and a spool of its own, and the command run on it while its relay is down."""

import json
import shutil
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from relay.cli.store import command
from relay.settings.models import ObjectStore
from tests.servers.database import Database

WORDS = ("--reason", "the nightly one")


class Machine:
    """Settings, a store and a spool in one folder; `policies` are there because a command with the relay down reads them."""

    def __init__(self, folder: Path, database: Database, policies: Path) -> None:
        self.folder = folder
        self.database = database
        folder.mkdir(exist_ok=True)
        spool = '[spool]\nfolder = "spool"\npublic_key = "keys/spool.pub"\nprivate_keys = "keys/spool"\n'
        control = f'[control]\nsocket = "{folder}/no.sock"\n'
        (folder / "sluis.toml").write_text(
            f'hostname = "relay.example.nl"\npolicies = "{policies}"\n[store]\nurl = "{database.relay.url}"\n{spool}{control}'
        )

    def keep_bodies_in(self, bucket: ObjectStore) -> None:
        """From now on in an object store."""
        words = ", ".join(f"{key} = {json.dumps(value)}" for key, value in bucket.model_dump(mode="json", exclude_unset=True).items())
        config = self.folder / "sluis.toml"
        config.write_text(config.read_text().replace("[spool]\n", f"[spool]\ns3 = {{{words}}}\n"))

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(command, [*words, "--config", str(self.folder / "sluis.toml")])

    def said(self, *words: str, code: int = 0) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == code, result.output
        value: dict[str, Any] = json.loads(result.stdout)
        return value


def bring_keys(old: Machine, new: Machine) -> None:
    shutil.copytree(old.folder / "keys", new.folder / "keys")
