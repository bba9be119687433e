"""Tables of keys for the documentation, made from the models, so that a page can't say what the code does not do."""

import types
import typing
from collections.abc import Mapping
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Words = Mapping[str, Any]
"""How the page calls a type that the models share: word to annotation."""

_PLAIN = {bool: "`true` or `false`", int: "number", float: "number", str: "text", Path: "path", date: "date"}


def key_table(model: type[BaseModel], words: Words) -> list[str]:
    """Markdown lines: key, value, default, meaning."""
    hints = typing.get_type_hints(model, include_extras=True)
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        cells = (f"`{field.alias or name}`", _kind(hints[name], words), _default(field), field.description or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def about(described: type) -> str:
    """The docstring of a class as one paragraph."""
    return " ".join((described.__doc__ or "").split())


def _kind(hint: Any, words: Words) -> str:
    known = next((word for word, meant in words.items() if hint == meant), None)
    if known is not None:
        return known
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _kind(arguments[0], words)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(argument, words) for argument in arguments if argument is not type(None))
    if origin is tuple:
        return f"list of {_kind(arguments[0], words)}"
    if origin is dict:
        return "table"
    if origin is typing.Literal:
        return _one_of(arguments)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _one_of([member.value for member in hint])
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "table"
    return _PLAIN[hint]


def _one_of(values: typing.Sequence[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value in ((), {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{value.value if isinstance(value, Enum) else value}`"
