"""Checks a CEL expression of a policy against what it can speak of. The only place that knows cel-expr-python, Google's checker of types.

What runs the expression (`relay.decide.expression`) checks neither fields nor types: what is not refused here would be unknown for ever.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from relay.policy.expression_depth import depth
from relay.policy.interpreter import FAILED, interpreter
from relay.policy.vocabulary import COMPREHENSIONS, FLAG, FUNCTIONS, NUMBER, STRUCTS, TEXT, TEXTS, VARIABLES
from relay.settings.problems import nearest

MAX_LENGTH = 1000  # characters
MAX_NESTING = 16  # brackets in each other: looked at before anything is parsed
MAX_DEPTH = 24  # expressions in each other, in the syntax tree; the checker's parser has a bound of 32 of its own
MAX_COMPREHENSIONS = 4  # one after another; none inside another, so that the work grows with the attachments and not with their square
# In raw text a backslash is a character like any other (CEL specification, Syntax).
_TEXT = r"""[bB]?[rR](?:"[^"\n]*"|'[^'\n]*')|[bB]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_TOKENS = re.compile(rf"(?P<text>{_TEXT})|(?P<word>[A-Za-z_]\w*)|(?P<open>[(\[{{])|(?P<close>[)\]}}])|\S")
_ESCAPED = re.compile(r"\\[pPx]\{\^?\w+\}|\\[^QEC]", re.DOTALL)
_RE2_ALONE = re.compile(r"\\[QEC]|\{(?![0-9]+(?:,[0-9]*)?\})")
_WHERE = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_FIELD = {TEXT: FieldDescriptorProto.TYPE_STRING, NUMBER: FieldDescriptorProto.TYPE_INT64, FLAG: FieldDescriptorProto.TYPE_BOOL}


def problems(text: str) -> list[tuple[int, str]]:
    """Every problem: the line in the expression (from 0), and what is wrong."""
    found = list(_bounds(text))
    return found or list(_types(text))


def _bounds(text: str) -> Iterator[tuple[int, str]]:
    """What is checked before anything is parsed: length, nesting, what is called."""
    if len(text) > MAX_LENGTH:
        yield 0, f"an expression of more than {MAX_LENGTH} characters"
        return
    depth = comprehensions = 0
    inside: list[int] = []  # at which depths a comprehension is open
    tokens = list(_TOKENS.finditer(text))
    for index, token in enumerate(tokens):
        following = tokens[index + 1].group() if index + 1 < len(tokens) else ""
        line = text.count("\n", 0, token.start())
        if token.lastgroup == "open":
            depth += 1
            if depth > MAX_NESTING:
                yield line, f"nested deeper than {MAX_NESTING}"
                return
        elif token.lastgroup == "close":
            depth -= 1
            while inside and depth < inside[-1]:
                inside.pop()
        elif (token.group(), following) == ("/", "/") or (token.group() in ('""', "''") and following[:1] == token.group()[0]):
            yield line, "no comment and no text in three quotes"
            return
        elif token.lastgroup == "word" and following == "(":
            word = token.group()
            if word not in FUNCTIONS:
                yield line, f"there is no function '{word}' here{nearest(word, sorted(FUNCTIONS))}"
            if word in COMPREHENSIONS:
                comprehensions += 1
                if inside or comprehensions > MAX_COMPREHENSIONS:
                    yield line, f"at most {MAX_COMPREHENSIONS} of {', '.join(sorted(COMPREHENSIONS))}, and none inside another"
                    return
                inside.append(depth + 1)
            if word == "matches" and not _is_text_alone(tokens[index + 2 : index + 4]):
                yield line, "'matches' needs its pattern as text, so that it can be checked"


def _is_text_alone(tokens: list[re.Match[str]]) -> bool:
    """Text and a closing bracket: what a sender wrote would else be joined to it, and be run as a pattern."""
    return len(tokens) == 2 and tokens[0].lastgroup == "text" and tokens[1].lastgroup == "close"


def _types(text: str) -> Iterator[tuple[int, str]]:
    try:
        compiled = _environment().compile(text)
    except RuntimeError as error:
        places = _WHERE.findall(str(error))
        for line, _, what in places:
            yield int(line) - 1, _ours(what.removesuffix("[INVALID_ARGUMENT]").strip())
        if not places:
            deep = "Exceeded max recursion depth" in str(error)
            yield 0, f"nested deeper than {MAX_DEPTH}" if deep else "not readable as CEL"
        return
    if depth(compiled.serialize()) > MAX_DEPTH:
        yield 0, f"nested deeper than {MAX_DEPTH}"
        return
    if compiled.return_type() != cel.Type.BOOL:
        yield 0, f"the result is {compiled.return_type().name().lower()}, and must be true or false"
        return
    for found in re.finditer(rf"matches\s*\(\s*({_TEXT})", text):
        if wrong := _wrong_pattern(found.group(1)):
            yield text.count("\n", 0, found.start()), wrong


def _wrong_pattern(text: str) -> str:
    """Why not both engines can read a pattern: RE2 checks it here, and the regex crate of Rust, which runs it, does not know all of RE2.
    Such a condition would be unknown for ever."""
    if _environment().compile(f"''.matches({text})").eval(data={}).type() != cel.Type.BOOL:
        return f"{text} is no regular expression (RE2)"
    pattern = _environment().compile(text).eval(data={}).value()
    if _RE2_ALONE.search(_ESCAPED.sub("", pattern)):
        return f"{text}: without \\Q, \\C, and a '{{' that counts nothing (write \\{{)"
    return "" if _taken(text) else f"{text} is too large for the engine that runs it: count less, or say [0-9A-Za-z_] for \\w"


@lru_cache(maxsize=4096)
def _taken(text: str) -> bool:
    """Whether the engine compiles a pattern within its bounds: a class of all alphabets, counted by the hundred, is megabytes."""
    try:
        return isinstance(interpreter().compile(f"''.matches({text})").execute(interpreter().Context({})), bool)
    except FAILED:
        return False


def _ours(what: str) -> str:
    """The checker's words, with the nearest name that there is."""
    unknown = re.match(r"undeclared reference to '([^']+)' \(in container ''\)", what)
    if unknown:
        return f"there is no '{unknown.group(1)}'{nearest(unknown.group(1), list(VARIABLES))}"
    field = re.match(r"undefined field '([^']+)' not found in struct 'sluis\.(\w+)'", what)
    if field:
        return f"{field.group(2).lower()} has no '{field.group(1)}'{nearest(field.group(1), list(STRUCTS[field.group(2)]))}"
    if what.startswith("Syntax error: "):
        return f"not readable as CEL: {what.removeprefix('Syntax error: ').partition(' expecting ')[0]}"
    return what.replace("found no matching overload for", "these types do not go together:")


@lru_cache(maxsize=1)
def _environment() -> Any:
    return cel.NewEnv(descriptor_pool=_structs(), variables={name: _type(variable.kind) for name, variable in VARIABLES.items()})


def _structs() -> DescriptorPool:
    """The structures as messages of protobuf, the one form in which the checker knows fields."""
    file = FileDescriptorProto(name="sluis.proto", package="sluis", syntax="proto3")
    for name, fields in STRUCTS.items():
        message = file.message_type.add(name=name)
        for number, (field, (kind, _)) in enumerate(fields.items(), start=1):
            repeated = kind == TEXTS
            label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=_FIELD[TEXT if repeated else kind], label=label)
    pool = DescriptorPool()
    pool.Add(file)
    return pool


def _type(kind: str) -> Any:
    plain = {TEXT: cel.Type.STRING, NUMBER: cel.Type.INT, FLAG: cel.Type.BOOL, TEXTS: cel.Type.List(cel.Type.STRING)}
    return plain[kind] if kind in plain else cel.Type.List(cel.Type(f"sluis.{kind}"))
