"""Where a policy comes from: the folder of this machine, or the files that the store keeps of the one in force."""

import asyncio
import socket
from dataclasses import dataclass
from functools import partial

from relay.deliver.usable import check_certificates
from relay.model.errors import ConfigurationError
from relay.policy.content import Content, read_content
from relay.policy.load import build, digest, read_files
from relay.policy.models import Policy
from relay.rehearsal.tested import Ran, run_tests
from relay.settings.models import Settings
from relay.store import policies
from relay.store.engine import sqlite_path
from relay.store.reader import Reader


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy that loads, and what it was read from."""

    policy: Policy
    content: Content


class Source:
    """The policy folder of the settings. `applies`: whether this process may put it in force; `approved`: whether that takes more than the
    folder, once there is a policy; `watched`: whether a change of the folder is enough."""

    def __init__(self, settings: Settings, *, applies: bool = True) -> None:
        self._settings = settings
        self.folder = settings.policies
        self.approved = settings.policy.source == "approved"
        self.watched = applies and settings.policy.source == "watched"
        self.applies = applies
        self.alone = sqlite_path(settings.store) is not None
        self.name = f"{socket.gethostname()}:{settings.policies.absolute()}"

    def read(self) -> Checked | None:
        """Reads the folder, and changes nothing. None where this process applies none. Raises ConfigurationError for a bad one."""
        if not self.applies:
            return None
        content = read_content(self.folder)
        return Checked(build(content.files, self.folder), content)

    def read_at_start(self) -> Checked | None:
        """The same; None also for a machine without a folder, which takes what others put in force."""
        return self.read() if self.alone or self.folder.exists() else None

    def differs(self, in_force: str) -> str:
        """The digest of the folder, or why there is none; empty where it is what is in force, or there is no folder."""
        if not self.folder.exists():
            return ""
        try:
            found = digest(read_files(self.folder))
        except ConfigurationError as error:
            return error.problems[0]
        return "" if found == in_force else found

    async def tested(self, checked: Checked, now_us: int) -> Ran:
        """Runs the tests beside it."""
        return await run_tests(checked.content, checked.policy, self._settings, now_us)


async def load(reader: Reader, wanted: str) -> Policy:
    """A policy from the store, with the files of certificates that it names. Raises ConfigurationError where this program or this machine
    can't work under it; StoreError."""
    files = await reader.read(partial(policies.files_of, digest=wanted))
    if files is None:
        raise ConfigurationError([f"the store has no files of policy {wanted}"])
    return await asyncio.to_thread(_usable, files, wanted)


def _usable(files: dict[str, str], wanted: str) -> Policy:
    policy = build(files)
    if policy.digest != wanted:
        raise ConfigurationError([f"the files that the store keeps of policy {wanted} are others: {policy.digest}"])
    check_certificates(policy)
    return policy
