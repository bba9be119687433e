"""YAML 1.2 (core schema) to plain values with line numbers. Aliases, tags, duplicate keys and depth are refused before anything is built.

PyYAML's C parser gives the events and their marks; its YAML 1.1 resolver (`no`, `on`, octal, sexagesimal) is not used, nor its composer.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1024 * 1024  # a policy file is written by people
MAX_DEPTH = 32
MAX_VALUES = 250_000
"""Words, lists and tables of one file: 5,000 rules are 100,000. Whatever is built of a value is larger by far than the two octets that it
may take here: what is wrong with it, most of all."""

# YAML 1.2.2 §10.3.2, the core schema; digits are bounded, so that no number costs time to read.
_NULL = frozenset({"null", "Null", "NULL", "~", ""})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGERS = (
    (re.compile(r"[-+]?[0-9]{1,18}"), 10),
    (re.compile(r"0o[0-7]{1,20}"), 8),
    (re.compile(r"0x[0-9a-fA-F]{1,15}"), 16),
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?")
_NUMERIC = frozenset("+-.0123456789")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_AROUND = frozenset({yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent})
_STARTS = frozenset({yaml.MappingStartEvent, yaml.SequenceStartEvent})
_ENDS = frozenset({yaml.MappingEndEvent, yaml.SequenceEndEvent})


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
    events = _checked_events(text)
    document = Document(None)
    if events:
        document.value = _build(iter(events), (), document.lines)
    return document


def _checked_events(text: str) -> list[yaml.Event]:
    """The events of the one document, after all of them were looked at: what could grow is refused before anything is built of them."""
    depth = documents = 0
    events: list[yaml.Event] = []
    loader = yaml.CSafeLoader(text)
    try:
        while (event := loader.get_event()) is not None:
            kind = type(event)
            if kind in _AROUND:
                documents += kind is yaml.DocumentStartEvent
                if documents > 1:
                    raise YamlError(_line(event), "only one document in a file")
                continue
            if kind is yaml.AliasEvent or getattr(event, "anchor", None):
                raise YamlError(_line(event), "anchors and aliases are not used here")
            if getattr(event, "tag", None):
                raise YamlError(_line(event), "tags are not used here")
            if kind in _STARTS:
                depth += 1
                if depth > MAX_DEPTH:
                    raise YamlError(_line(event), f"nested deeper than {MAX_DEPTH}")
            elif kind in _ENDS:
                depth -= 1
            events.append(event)
            if len(events) > MAX_VALUES:
                raise YamlError(_line(event), f"more than {MAX_VALUES} values")
    except yaml.YAMLError as error:
        raise _foreign(error, text) from None
    finally:
        loader.dispose()
    return events


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _foreign(error: yaml.YAMLError, text: str) -> YamlError:
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.reader.ReaderError):
        return YamlError(text.encode().count(b"\n", 0, error.position) + 1, "a character that YAML does not allow")
    what = getattr(error, "problem", None) or "not readable as YAML"
    return YamlError(mark.line + 1 if mark else 1, what)


def _build(events: Iterator[yaml.Event], path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Any:
    return _value(next(events), events, path, lines)


def _value(event: yaml.Event, events: Iterator[yaml.Event], path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Any:
    """What begins with this event; what belongs to it is taken from `events`."""
    lines.setdefault(path, _line(event))
    if type(event) is yaml.ScalarEvent:
        return _scalar(event)
    if type(event) is yaml.SequenceStartEvent:
        values: list[Any] = []
        while type(following := next(events)) is not yaml.SequenceEndEvent:
            values.append(_value(following, events, (*path, len(values)), lines))
        return values
    result: dict[str, Any] = {}
    while type(key := next(events)) is not yaml.MappingEndEvent:
        if type(key) is not yaml.ScalarEvent:
            raise YamlError(_line(key), "a key must be a plain word")
        if key.value in result:
            raise YamlError(_line(key), f"the key '{key.value}' stands here a second time")
        inside = (*path, key.value)
        lines[inside] = _line(key)
        result[key.value] = _value(next(events), events, inside, lines)
    return result


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.style:  # quoted or block: always a string (the C parser says '' for a plain scalar)
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in _NUMERIC:  # as nearly all are
        return text
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(text):
            return int(text, base)
    if _NO_NUMBER.fullmatch(text) or (_FLOAT.fullmatch(text) and math.isinf(float(text))):
        raise YamlError(_line(event), f"'{text}' is no number that policy can use")
    return float(text) if _FLOAT.fullmatch(text) else text
