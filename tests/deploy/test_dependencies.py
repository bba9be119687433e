"""docs/dependencies.md: every dependency, what for, and a licence that fits EUPL-1.2."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ROWS = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for line in (ROOT / "docs" / "dependencies.md").read_text().splitlines()
    if line.startswith("| `")
    for cells in [line.strip("| ").split(" | ")]
}


def names(requirements: list[str]) -> list[str]:
    """`psycopg[binary]>=3.2` is psycopg."""
    return [re.split(r"[\[<>=~!; ]", requirement)[0] for requirement in requirements]


RUNTIME = names(PROJECT["dependencies"])
TESTS = names(PROJECT["optional-dependencies"]["test"])


def locked() -> set[str]:
    """What is installed where Sluis runs: the lock file, with what dependencies bring along."""
    return set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text()))


def licence(name: str) -> str:
    """What the package says of its licence, in all the places where it may."""
    metadata = distribution(name).metadata
    fields = [text[:200] for field in ("License-Expression", "License") for text in metadata.get_all(field, [])]
    return " ".join(fields + [text for text in metadata.get_all("Classifier", []) if text.startswith("License")])


def test_every_dependency_has_its_line_and_no_line_is_left_over() -> None:
    assert set(ROWS) == set(RUNTIME) | set(TESTS)


@pytest.mark.parametrize("name", RUNTIME + TESTS)
def test_a_line_says_what_for_licence_and_why(name: str) -> None:
    purpose, written, why = ROWS[name]
    assert purpose
    assert why
    said = re.sub(r"[^a-z0-9]", "", licence(name).lower())
    first = written.split(" ")[0].split("-")[0].lower()
    assert re.sub(r"[^a-z0-9]", "", first) in said, f"{name} says {licence(name)}"


@pytest.mark.parametrize("name", sorted(locked() - {"colorama", "tzdata"}))  # those two are for Windows only
def test_nothing_that_is_installed_is_under_gpl_or_agpl(name: str) -> None:
    text = re.sub(r"(?i)lgpl\S*|(lesser|library) general public licen[cs]e[^:]*|\bLGPL\b", "", licence(name))
    assert licence(name).strip(), f"{name} names no licence"
    assert not re.search(r"(?i)\bA?GPL|general public licen[cs]e", text), licence(name)
