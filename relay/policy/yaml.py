"""YAML 1.2 (core schema) to plain values with line numbers. Aliases, tags, duplicate keys and depth are refused before anything is built.

PyYAML's C composer gives the nodes and their marks; its YAML 1.1 resolver (`no`, `on`, octal, sexagesimal) is not used.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1024 * 1024  # a policy file is written by people
MAX_DEPTH = 32

# YAML 1.2.2 §10.3.2
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?")


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


def parse(text: str) -> Document:
    """One document. Raises YamlError."""
    if len(text.encode()) > MAX_BYTES:
        raise YamlError(1, f"the file is larger than {MAX_BYTES} octets")
    _check_events(text)
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise _foreign(error) from None
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
        raise _foreign(error) from None


def _foreign(error: yaml.YAMLError) -> YamlError:
    mark = getattr(error, "problem_mark", None)
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
    return _scalar(node)


def _scalar(node: Any) -> Any:
    text: str = node.value
    if node.style is not None:  # quoted or block: always a string
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and any(mark in text for mark in ".eE"):
        return float(text)
    return text
