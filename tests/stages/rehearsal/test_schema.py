"""The JSON Schema that editors use: current, and true of what ships."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from relay.policy.yaml import parse
from relay.rehearsal.schema import schema

SHIPPED = Path(__file__).parents[3] / "policies"
FILES = sorted(SHIPPED.rglob("*.yaml"))


def test_the_schema_that_ships_is_made_from_the_models() -> None:
    assert json.loads((SHIPPED / "schema.json").read_text()) == schema(), "sluis policy schema > policies/schema.json"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SHIPPED)) for path in FILES])
def test_each_file_that_ships_fits_it_and_names_it_to_editors(path: Path) -> None:
    text = path.read_text()

    Draft202012Validator(schema()).validate(parse(text).value)
    first, _, _ = text.partition("\n")
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == SHIPPED / "schema.json"


def test_an_unknown_key_does_not_fit() -> None:
    value = {"rules": [{"name": "x", "then": "hold", "because": "x", "wen": {}}]}

    assert not Draft202012Validator(schema()).is_valid(value)
