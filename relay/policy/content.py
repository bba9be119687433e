"""The content of a policy folder as it is proposed: the files that count, and the tests beside them."""

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from relay.model.errors import ConfigurationError
from relay.model.plain_json import sorted_json
from relay.policy.below import below
from relay.policy.load import counts, digest, read_files

TESTS = "tests/"
MAX_TESTS_BYTES = 16 * 1024 * 1024
MAX_UNPACKED = 32 * 1024 * 1024
"""Octets of a packed content that somebody sends: a few thousand rules with long lists are a tenth of it."""


@dataclass(frozen=True, slots=True)
class Content:
    """Relative path to text, and relative path (`tests/…`) to octets."""

    files: dict[str, str]
    tests: dict[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the policy; its tests are no part of what is in force."""
        return digest(self.files)

    @property
    def tests_digest(self) -> str:
        """Of the tests beside it: what stands for them where a version is proposed and approved."""
        return tests_digest(self.tests_text)

    @property
    def tests_text(self) -> dict[str, str]:
        """The tests in Base64, for where only text can stand."""
        return {name: base64.b64encode(octets).decode("ascii") for name, octets in self.tests.items()}


def read_content(folder: Path) -> Content:
    """Of a folder. Raises ConfigurationError."""
    return Content(read_files(folder), _tests(folder))


def _tests(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    room, root = MAX_TESTS_BYTES, (folder / TESTS).resolve()
    for path in below(folder / TESTS) if (folder / TESTS).exists() else ():
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if not path.resolve().is_relative_to(root) or not path.is_file():
            raise ConfigurationError([f"{path}: not a file inside {folder / TESTS}"])
        try:
            found[name] = path.read_bytes()
        except OSError as error:
            raise ConfigurationError([f"{path}: {error.strerror}"]) from None
        room -= len(found[name])
        if room < 0:
            raise ConfigurationError([f"{folder / TESTS}: more than {MAX_TESTS_BYTES} octets of tests"])
    return found


def tests_digest(texts: dict[str, str]) -> str:
    """SHA-256 in hex over names and contents, the latter in Base64, as `tests_text` gives them."""
    return hashlib.sha256(sorted_json(texts)).hexdigest()


def pack(content: Content) -> str:
    """As text of one line."""
    plain = json.dumps({"files": content.files, "tests": content.tests_text})
    return base64.b64encode(zlib.compress(plain.encode(), 9)).decode("ascii")


def unpack(text: str) -> Content:
    """What somebody sent: every name is one that a policy folder can have. Raises ConfigurationError."""
    try:
        inflate = zlib.decompressobj()
        plain = inflate.decompress(base64.b64decode(text, validate=True), MAX_UNPACKED)
        if not inflate.eof:
            raise ConfigurationError([f"the content is larger than {MAX_UNPACKED} octets"])
        value = json.loads(plain)
        files, tests = value["files"], value["tests"]
        named = {name: text for name, text in files.items() if counts(name) and is_inside(name)}
        for text in named.values():
            text.encode()  # half a surrogate pair is no text: UnicodeEncodeError, a ValueError
        beside = {name: base64.b64decode(text, validate=True) for name, text in tests.items() if name.startswith(TESTS) and is_inside(name)}
    except (binascii.Error, zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError(["this is not the content of a policy folder"]) from None
    if len(named) != len(files) or len(beside) != len(tests):
        raise ConfigurationError(["a name in it is not that of a policy file"])
    return Content(named, beside)


def is_inside(name: str) -> bool:
    """Whether a relative path stays in its folder, and is written in one way only."""
    path = PurePosixPath(name)
    return name.isprintable() and not path.is_absolute() and ".." not in path.parts and path.as_posix() == name and "\\" not in name


def tests_of(texts: dict[str, str]) -> dict[str, bytes]:
    """What `tests_text` gave."""
    return {name: base64.b64decode(text) for name, text in texts.items()}


def write_content(content: Content, folder: Path) -> None:
    """Into a folder that is not there yet. Raises OSError."""
    folder.mkdir(parents=True)
    write_content_of({**{name: text.encode() for name, text in content.files.items()}, **content.tests}, folder)


def write_content_of(files: Mapping[str, bytes], folder: Path) -> None:
    """Relative path to octets, into a folder that is there. Raises OSError."""
    for name, octets in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)
