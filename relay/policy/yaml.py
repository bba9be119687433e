"""YAML 1.2 (core schema) to plain values with line numbers. Aliases, tags, duplicate keys and depth are refused before anything is built.

PyYAML's C composer gives the nodes and their marks; its YAML 1.1 resolver (`no`, `on`, octal, sexagesimal) is not used.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1024 * 1024  # a policy file is written by people
MAX_DEPTH = 32

# YAML 1.2.2 §10.3.2, the core schema; digits are bounded, so that no number costs time to read.
_NULL = frozenset({"null", "Null", "NULL", "~", ""})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGERS = (
    (re.compile(r"[-+]?[0-9]{1,18}"), 10),
    (re.compile(r"0o[0-7]{1,20}"), 8),
    (re.compile(r"0x[0-9a-fA-F]{1,15}"), 16),
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class YamlError(Exception):
    """What is wrong, and on which line (from 1)."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


@dataclass(slots=True)
class Document:
    """`lines` maps the path of a value (keys and indices) to its line; of a key, to the line of the key."""

    value: Any
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def line(self, path: tuple[str | int, ...]) -> int:
        """The line of a path, or of what holds it."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """One document. Raises YamlError."""
    if len(text.encode()) > MAX_BYTES:
        raise YamlError(1, f"the file is larger than {MAX_BYTES} octets")
    _check_events(text)
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise _foreign(error, text) from None
    document = Document(None)
    if node is not None:
        document.value = _build(node, (), document.lines)
    return document


def _check_events(text: str) -> None:
    """Walks the event stream, which allocates nothing that grows, and refuses what could."""
    depth = documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlError(line, "only one document in a file")
            elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise YamlError(line, "anchors and aliases are not used here")
            elif getattr(event, "tag", None):
                raise YamlError(line, "tags are not used here")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise YamlError(line, f"nested deeper than {MAX_DEPTH}")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError as error:
        raise _foreign(error, text) from None


def _foreign(error: yaml.YAMLError, text: str) -> YamlError:
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.reader.ReaderError):
        return YamlError(text.encode().count(b"\n", 0, error.position) + 1, "a character that YAML does not allow")
    what = getattr(error, "problem", None) or "not readable as YAML"
    return YamlError(mark.line + 1 if mark else 1, what)


def _build(node: yaml.Node, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(line, "a key must be a plain word")
            if key_node.value in result:
                raise YamlError(line, f"the key '{key_node.value}' stands here a second time")
            lines[(*path, key_node.value)] = line
            result[key_node.value] = _build(value_node, (*path, key_node.value), lines)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*path, index), lines) for index, child in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node)


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style:  # quoted or block: always a string (the C composer says '' for a plain scalar)
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(text):
            return int(text, base)
    if _NO_NUMBER.fullmatch(text) or (_FLOAT.fullmatch(text) and math.isinf(float(text))):
        raise YamlError(node.start_mark.line + 1, f"'{text}' is no number that policy can use")
    return float(text) if _FLOAT.fullmatch(text) else text
