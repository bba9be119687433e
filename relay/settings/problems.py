"""Says where a value is wrong and what was perhaps meant: `file:line: unknown key 'recipents' (did you mean 'recipients'?)`."""

import difflib
import typing
from bisect import bisect
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]
COMPARED = 40
"""Known words that one unknown word is compared with; no model has as many keys."""


def describe(error: ValidationError, model: type[BaseModel], line_of: Callable[[Path], int], file: str) -> list[str]:
    """One text for each problem of a failed validation; `line_of` gives the line of a path, or of what holds it."""
    items = error.errors(include_url=False)
    # A list that lost its wrong entries is then called too short as well: that follows from them, and is no second problem.
    holders = {item["loc"][:length] for item in items for length in range(len(item["loc"]))}
    return [_describe(item, model, line_of, file) for item in items if item["loc"] not in holders]


def _describe(item: Any, model: type[BaseModel], line_of: Callable[[Path], int], file: str) -> str:
    path: Path = item["loc"]
    line = line_of(path)
    name = ".".join(str(part) for part in path)
    if item["type"] == "extra_forbidden":
        hint = nearest(str(path[-1]), keys_at(model, path[:-1]))
        return f"{file}:{line}: unknown key '{path[-1]}'{hint}"
    if item["type"] == "missing":
        return f"{file}:{line}: the key '{path[-1]}' is missing"
    what = item["msg"].removeprefix("Value error, ")
    what = what[:1].lower() + what[1:]
    expected = item.get("ctx", {}).get("expected")
    hint = nearest(str(item["input"]), [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]) if expected else ""
    return f"{file}:{line}: {name}: {what}{hint}"


def nearest(word: str, known: list[str]) -> str:
    """` (did you mean 'x'?)`, or nothing if no known word is near. Of very many only those are looked at that begin most alike: to compare
    two words costs 25 us, and a policy may name thousands that are not there."""
    if len(known) > COMPARED:
        known = sorted(known)
        place = bisect(known, word)
        known = known[max(place - COMPARED // 2, 0) : place + COMPARED // 2]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that a model knows at a path."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return []
        field = next((field for name, field in current.model_fields.items() if part in (name, field.alias)), None)
        if field is None:
            return []
        current = _model_in(field.annotation)
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    """The model inside `tuple[Model, ...]`, `Model | None` and the like."""
    if typing.get_origin(annotation) is None:
        return annotation
    for argument in typing.get_args(annotation):
        found = _model_in(argument)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None
