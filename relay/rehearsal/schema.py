"""The JSON Schema of every file in a policy folder, made from the models, for editors that complete and check as somebody types."""

from typing import Any

from pydantic import BaseModel, TypeAdapter

from relay.policy.load import FOLDERS, SINGLE, TABLES
from relay.rehearsal.cases import PolicyTests

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = "schema.json"


def schema() -> dict[str, Any]:
    """One schema for all: a file is one of the kinds that there are."""
    kinds: dict[str, type[BaseModel]] = {name: model for name, (model, _) in (SINGLE | TABLES | FOLDERS).items()} | {"tests/": PolicyTests}
    definitions: dict[str, Any] = {}
    choices = []
    for name, model in kinds.items():
        made = TypeAdapter(model).json_schema(by_alias=True, ref_template="#/$defs/{model}")
        definitions |= made.pop("$defs", {})
        title = name.removesuffix("/")  # a file's name, which no model has
        definitions[title] = made | {"title": title}
        choices.append({"$ref": f"#/$defs/{title}"})
    return {"$schema": DIALECT, "title": "Policy of Sluis", "anyOf": choices, "$defs": dict(sorted(definitions.items()))}
