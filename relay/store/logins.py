"""Logins for AUTH: a file of `name:argon2id-hash` lines, checked off the event loop, a few at a time."""

import asyncio
import hashlib
import hmac
import logging
import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from relay.model.errors import ConfigurationError, SluisError
from relay.settings.ownership import give

log = logging.getLogger("sluis.store")

THREADS = 2  # argon2 takes 64 MiB each (RFC 9106 §4, second recommended option)
CACHE_SECONDS = 60.0
CACHE_ENTRIES = 1000
WAITING = 50  # more at once than this is an attack: they are told to come back, and cost nothing


class TooManyAtOnce(SluisError):
    """The password was not looked at: it may be right."""


class Logins:
    """`path` None: nobody can log in. The file is read again when it changes. A success is remembered for `cache_seconds`."""

    def __init__(self, path: Path | None, cache_seconds: float = CACHE_SECONDS) -> None:
        self._path = path
        self._cache_seconds = cache_seconds
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._key = os.urandom(32)
        self._successes: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._waiting = 0
        self._read: tuple[tuple[int, int], dict[str, str]] = ((0, 0), {})

    async def verify(self, name: str, password: str) -> bool:
        """Whether this is the password of this login. Raises TooManyAtOnce."""
        stored = self._hashes().get(name)
        proof = hmac.new(self._key, f"{name}\0{password}\0{stored}".encode(), hashlib.sha256).digest()
        known = self._successes.get(name)
        if known and known[1] > time.monotonic() and hmac.compare_digest(known[0], proof):
            return True
        if self._waiting >= WAITING:
            raise TooManyAtOnce(f"{self._waiting} passwords are being checked")
        self._waiting += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(self._threads, self._look, stored, password)
        finally:
            self._waiting -= 1
        if not right or stored is None:
            return False
        self._successes[name] = (proof, time.monotonic() + self._cache_seconds)
        if len(self._successes) > CACHE_ENTRIES:
            self._successes.popitem(last=False)
        return True

    @cached_property
    def _nobody(self) -> str:
        """Verified where there is no such login, so that one costs as much as a wrong password."""
        return self._hasher.hash(os.urandom(16).hex())

    def _look(self, stored: str | None, password: str) -> bool:
        nobody = self._nobody  # made with the first password that is looked at, whoever's: to start a relay should not cost it
        return self._check(stored if stored is not None else nobody, password)

    def _check(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def _hashes(self) -> dict[str, str]:
        if self._path is None:
            return {}
        try:
            state = self._path.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            if stamp != self._read[0]:
                self._read = (stamp, read_logins(self._path))
        except (OSError, ConfigurationError) as error:
            log.error("nobody can log in", extra={"fields": {"problem": str(error)}})
            return {}
        return self._read[1]


def read_logins(path: Path) -> dict[str, str]:
    """Name to hash. Raises ConfigurationError with the line."""
    found: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}:1: not UTF-8"]) from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, mark, stored = line.partition(":")
        if not mark or not name or not stored.startswith("$argon2id$"):
            raise ConfigurationError([f"{path}:{number}: not `name:argon2id-hash` (make one with: sluis keys login NAME)"])
        found[name] = stored
    return found


def set_login(path: Path, name: str, password: str) -> None:
    """Adds or replaces one login; the file is replaced whole, mode 0600."""
    found = read_logins(path) if path.exists() else {}
    found[name] = PasswordHasher().hash(password)
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{login}:{stored}\n" for login, stored in sorted(found.items()))
        file.flush()
        os.fsync(file.fileno())
    give(temporary, path.parent.stat())
    temporary.replace(path)
