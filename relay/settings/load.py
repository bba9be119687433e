"""Reads `sluis.toml`: one Settings, or every problem in it with its line."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from relay.model.errors import ConfigurationError
from relay.model.text import printable
from relay.settings.crosscheck import crosscheck
from relay.settings.models import Settings
from relay.settings.positions import Path as Key
from relay.settings.positions import positions
from relay.settings.problems import describe

MAX_BYTES = 1024 * 1024  # people write this file
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_SQLITE = "sqlite:///"


def load_settings(path: Path) -> Settings:
    """The settings in a file; nothing in the environment changes them. Raises ConfigurationError with all problems."""
    text = _read(path)
    values = _parse(text, path)
    lines = positions(text)

    def line_of(key: Key) -> int:
        while key and key not in lines:
            key = key[:-1]
        return lines.get(key, 1)

    try:
        # Strict JSON mode: a list is a tuple and a word an enum, but "5" is no number and 1 no boolean.
        settings = Settings.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise ConfigurationError(_fit(describe(error, Settings, line_of, str(path)))) from None
    settings = _resolved(settings, path.resolve().parent)
    problems = [f"{path}:{line_of(key)}: {what}" for key, what in crosscheck(settings)]
    if problems:
        raise ConfigurationError(_fit(problems))
    return settings


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigurationError([f"{path}: this is a folder; the settings file in it is wanted"])
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError([f"{path}: larger than {MAX_BYTES} octets"])
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigurationError([f"{path}: no such settings file (make one with: sluis init DIR)"]) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([f"{path}:{line}: not UTF-8"]) from None


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = place.group(1) if place and place.group(1) else str(text.count("\n") + 1)
        what = _TOML_PLACE.sub("", str(error))
        raise ConfigurationError(_fit([f"{path}:{line}: {what[:1].lower()}{what[1:]}"])) from None
    except RecursionError:
        raise ConfigurationError([f"{path}: nested too deeply"]) from None


def _fit(problems: list[str]) -> list[str]:
    """What the file says may hold control characters; a terminal must not."""
    return [printable(problem, 1000) for problem in problems]


def _resolved(settings: Settings, folder: Path) -> Settings:
    """Relative paths are relative to the folder of the file, wherever the command was called."""
    url = settings.store.url
    if url.startswith(_SQLITE) and not url.startswith(_SQLITE + "/") and len(url) > len(_SQLITE):
        url = f"{_SQLITE}{folder / url.removeprefix(_SQLITE)}"
    store = settings.store.model_copy(update={"url": url})
    resolved = _absolute(settings.model_copy(update={"store": store}), folder)
    assert isinstance(resolved, Settings)
    return resolved


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, tuple):
        return tuple(_absolute(item, folder) for item in value)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _absolute(getattr(value, name), folder) for name in type(value).model_fields})
    return value
