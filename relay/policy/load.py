"""Reads a policy folder whole, checks it whole, and gives one Policy or every problem in it (promise 10)."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from relay.model.errors import ConfigurationError
from relay.model.text import printable
from relay.policy import lists, models
from relay.policy.below import below
from relay.policy.crosscheck import crosscheck
from relay.policy.places import Places
from relay.policy.yaml import Document, YamlError, parse
from relay.settings.problems import describe

MAX_LIST_BYTES = 64 * 1024 * 1024
MAX_FILES = 10_000
TESTS = "tests"
"""The folder beside the policy that is no part of it."""
MAX_PROBLEMS = 1000
"""Of one folder: who has so many mends the first ones first."""

# Which file holds what: the file, the model of the whole file, and the field of Policy that it fills.


class _Clients(models.Strict):
    clients: tuple[models.Client, ...]


class _Senders(models.Strict):
    senders: tuple[models.SenderRule, ...]


class _Recipients(models.Strict):
    recipients: tuple[models.Recipients, ...]


class _Routes(models.Strict):
    routes: tuple[models.Route, ...]


class _Signing(models.Strict):
    signing: tuple[models.Signing, ...]


class _Rules(models.Strict):
    rules: tuple[models.Rule, ...]


class _Waivers(models.Strict):
    waivers: tuple[models.Waiver, ...]


SINGLE: dict[str, tuple[type[BaseModel], str]] = {
    "organisation.yaml": (models.Organisation, "organisation"),
    "inspection.yaml": (models.InspectionPolicy, "inspection"),
}
TABLES: dict[str, tuple[type[BaseModel], str]] = {
    "clients.yaml": (_Clients, "clients"),
    "senders.yaml": (_Senders, "senders"),
    "recipients.yaml": (_Recipients, "recipients"),
    "routes.yaml": (_Routes, "routes"),
    "signing.yaml": (_Signing, "signing"),
}
FOLDERS: dict[str, tuple[type[BaseModel], str]] = {"rules/": (_Rules, "rules"), "waivers/": (_Waivers, "waivers")}


def load_policy(folder: Path) -> models.Policy:
    """The policy in a folder. Raises ConfigurationError with all problems."""
    return build(read_files(folder), folder)


def read_files(folder: Path) -> dict[str, str]:
    """Relative path to text, of every file that counts. Raises ConfigurationError."""
    if not folder.is_dir():
        raise ConfigurationError([f"{folder}: the policy folder does not exist"])
    problems: list[str] = []
    files: dict[str, str] = {}
    root = folder.resolve()
    for path in below(folder, TESTS):
        name = path.relative_to(folder).as_posix()
        if overlooked := _overlooked(name, path):
            problems.append(f"{path}: {overlooked}")
        if not counts(name) or path.is_dir():
            continue
        if len(files) >= MAX_FILES:
            raise ConfigurationError([f"{folder}: more than {MAX_FILES} files"])
        if not path.resolve().is_relative_to(root) or not path.is_file():
            problems.append(f"{path}: not a file inside the policy folder")
            continue
        try:
            files[name] = _text(path)
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            problems.append(f"{path}:{line}: not UTF-8")
    if problems:
        raise _wrong(problems)
    return files


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_LIST_BYTES:
        raise OSError(0, f"larger than {MAX_LIST_BYTES} octets")
    return path.read_bytes().decode("utf-8")


def _wrong(problems: list[str]) -> ConfigurationError:
    """What a file says may hold control characters; a terminal must not."""
    told = problems[:MAX_PROBLEMS] + (["and more"] if len(problems) > MAX_PROBLEMS else [])
    return ConfigurationError([printable(problem, 1000) for problem in told])


def _overlooked(name: str, path: Path) -> str:
    """Why somebody may think that this counts, and it does not: rules that nobody reads must not look as if they were in force."""
    if path.is_symlink() and path.is_dir():
        return "a link to a folder is not followed: put the files themselves here"
    if not counts(name) and name.lower().endswith((".yaml", ".yml")):
        return "nothing reads this file: the name of a policy file ends in .yaml"
    return ""


def counts(name: str) -> bool:
    """Policy is *.yaml and lists/*.txt; tests/ beside it and notes are not."""
    if any(part.startswith(".") for part in name.split("/")) or name.startswith(f"{TESTS}/"):
        return False
    return name.endswith(".yaml") or (name.startswith("lists/") and name.endswith(".txt"))


def digest(files: dict[str, str]) -> str:
    """SHA-256 (hex) over the sorted files; lengths in front, so that no two folders give the same stream."""
    total = hashlib.sha256()
    for name in sorted(files):
        for data in (name.encode(), files[name].encode()):
            total.update(len(data).to_bytes(8, "big"))
            total.update(data)
    return total.hexdigest()


def build(files: dict[str, str], folder: Path = Path("policies")) -> models.Policy:
    """One Policy of the texts of its files. Raises ConfigurationError with all problems."""
    problems: list[str] = []
    filled: dict[str, Any] = {}
    places = Places()
    listed: dict[str, models.EntryList] = {}
    for name in sorted(files):
        if len(problems) > MAX_PROBLEMS:
            raise _wrong(problems)
        where = str(folder / name)
        if name.endswith(".txt"):
            problems += lists.problems(files[name], where)
            listed[name.removeprefix(lists.FOLDER).removesuffix(".txt")] = lists.parse(files[name])
            continue
        kind = SINGLE.get(name) or TABLES.get(name) or next((kind for start, kind in FOLDERS.items() if name.startswith(start)), None)
        if kind is None:
            known = ", ".join([*SINGLE, *TABLES, "rules/*.yaml", "waivers/*.yaml"])
            problems.append(f"{where}:1: nothing reads this file; policy files are {known}")
            continue
        model, target = kind
        parsed, document = parse_as(files[name], model, where, problems)
        if parsed is None:
            continue
        if name in SINGLE:
            filled[target] = parsed
            continue
        entries = getattr(parsed, target)
        filled[target] = filled.get(target, ()) + entries
        _note_places(target, entries, document, where, places, problems)
    if "organisation.yaml" not in files:
        problems.append(f"{folder / 'organisation.yaml'}:1: the file is missing; it says who we are")
    if problems:
        raise _wrong(problems)
    policy = models.Policy(digest=digest(files), lists=listed, **filled)
    problems = crosscheck(policy, places, folder)
    if problems:
        raise _wrong(problems)
    return policy


def parse_as(text: str, model: type[BaseModel], where: str, problems: list[str]) -> tuple[BaseModel | None, Document]:
    """The text of a file as a model, or None and its problems noted."""
    try:
        document = parse(text)
    except YamlError as error:
        problems.append(f"{where}:{error.line}: {error.what}")
        return None, Document(None)

    try:
        # Strict JSON mode: a list is a tuple and a word an enum, but "5" is no number and 1 no boolean.
        return model.model_validate_json(json.dumps({} if document.value is None else document.value), strict=True), document
    except ValidationError as error:
        problems.extend(describe(error, model, document.line, where))
        return None, document


def _note_places(target: str, entries: tuple[Any, ...], document: Document, where: str, places: Places, problems: list[str]) -> None:
    """Remembers where each named entry stands, and refuses a name that is taken."""
    for index, entry in enumerate(entries):
        name = getattr(entry, "name", None) or getattr(entry, "domain", None) or getattr(entry, "login", None) or str(index)
        taken = places.note(target, name, where, document, (target, index))
        if taken is not None:
            problems.append(f"{places.of(target, name)}: the name '{name}' is taken, at {taken}")
