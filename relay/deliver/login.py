"""The login for a smart host: a file with `user:password` in the secrets folder."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from relay.model.errors import ConfigurationError

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
FORBIDDEN_MODE = 0o027  # the owner may do all, a group may read, others nothing


@dataclass(frozen=True, slots=True)
class Login:
    """A user name, and a password that no repr shows."""

    user: str
    password: str = field(repr=False)


def read_login(secrets: Path, name: str) -> Login:
    """Raises ConfigurationError, which names the file and never what is in it."""
    path = secrets / name
    if not FILE_NAME.fullmatch(name):
        raise ConfigurationError([f"route login `{name!r}` is no file name"])
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & FORBIDDEN_MODE:
                raise ConfigurationError([f"{path}: others may read or change this file (chmod 600, or 640 for a group)"])
            text = file.read(4096).decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: not UTF-8 text"]) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror}"]) from error
    user, colon, password = text.rstrip("\r\n").partition(":")
    if not colon or not user or not password or "\n" in text.rstrip("\r\n"):
        raise ConfigurationError([f"{path}: one line `user:password` is expected"])
    return Login(user, password)
