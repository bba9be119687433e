"""Where a policy comes from: the folder of this machine, or the files that the store keeps of the one in force."""

import asyncio
import socket
from dataclasses import dataclass
from functools import partial

from relay.deliver.tls import ClientContexts
from relay.model.errors import ConfigurationError
from relay.policy.load import build, read_files
from relay.policy.models import Policy
from relay.settings.models import Settings
from relay.store import policies
from relay.store.engine import sqlite_path
from relay.store.reader import Reader


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy that may come into force, and the files that it was read from."""

    policy: Policy
    files: dict[str, str]


class Source:
    """The policy folder of the settings. `applies`: whether this process may put it in force."""

    def __init__(self, settings: Settings, *, applies: bool = True) -> None:
        self._folder = settings.policies
        self._applies = applies
        self.alone = sqlite_path(settings.store) is not None
        self.name = f"{socket.gethostname()}:{settings.policies.absolute()}"

    def read(self) -> Checked | None:
        """Reads the folder, and changes nothing. None where this process applies none. Raises ConfigurationError for a bad one."""
        if not self._applies:
            return None
        files = read_files(self._folder)
        return Checked(build(files, self._folder), files)

    def read_at_start(self) -> Checked | None:
        """The same; None also for a machine without a folder, which takes what others put in force."""
        return self.read() if self.alone or self._folder.exists() else None


async def load(reader: Reader, digest: str) -> Policy:
    """A policy from the store, with the files of certificates that it names. Raises ConfigurationError where this program or this machine
    can't work under it; StoreError."""
    files = await reader.read(partial(policies.files_of, digest=digest))
    if files is None:
        raise ConfigurationError([f"the store has no files of policy {digest}"])
    return await asyncio.to_thread(_usable, files, digest)


def _usable(files: dict[str, str], digest: str) -> Policy:
    policy = build(files)
    if policy.digest != digest:
        raise ConfigurationError([f"the files that the store keeps of policy {digest} are others: {policy.digest}"])
    contexts = ClientContexts()
    for route in policy.routes:
        if route.ca_file is not None:
            contexts.context(route.tls, route.ca_file)
    return policy
