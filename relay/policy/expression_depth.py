"""How deep the syntax tree of a CEL expression is, from the checker's own answer: brackets say little, for `a ? b : c ? d : e` has none.

The checker gives a `cel.expr.CheckedExpr` (cel-spec, proto/cel/expr/checked.proto and syntax.proto) in the form of protobuf. Of it only
the fields that hold expressions are followed; no generated code for it is published with the checker.
"""

from collections.abc import Iterator

_ANY_VALUE, _CHECKED_EXPR = 2, 4
# Fields of Expr that lead to more of it: select, call, list, struct, comprehension; and in each, the fields that are an Expr.
_KINDS: dict[int, frozenset[int]] = {5: frozenset({1}), 6: frozenset({1, 3}), 7: frozenset({1}), 9: frozenset({2, 4, 5, 6, 7})}
_STRUCT, _ENTRIES, _ENTRY = 8, 2, frozenset({3, 4})


def depth(serialized: bytes) -> int:
    """The most expressions that lie in each other. Raises ValueError where these are no bytes of a checked expression."""
    checked = next((value for number, value in _fields(serialized) if number == _ANY_VALUE), b"")
    root = next((value for number, value in _fields(checked) if number == _CHECKED_EXPR), None)
    if root is None:
        raise ValueError("no checked expression")
    deepest, waiting = 0, [(root, 1)]
    while waiting:
        expression, here = waiting.pop()
        deepest = max(deepest, here)
        waiting += [(child, here + 1) for child in _children(expression)]
    return deepest


def _children(expression: bytes) -> Iterator[bytes]:
    for number, value in _fields(expression):
        if number in _KINDS:
            yield from (child for field, child in _fields(value) if field in _KINDS[number])
        elif number == _STRUCT:
            for entry in (found for field, found in _fields(value) if field == _ENTRIES):
                yield from (child for field, child in _fields(entry) if field in _ENTRY)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field that has a length (protobuf, Encoding); others are skipped."""
    position = 0
    while position < len(data):
        key, position = _number(data, position)
        kind = key & 7
        if kind == 0:
            _, position = _number(data, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        elif kind == 2:
            length, position = _number(data, position)
            yield key >> 3, data[position : position + length]
            position += length
        else:
            raise ValueError("no field of protobuf")


def _number(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("a number of protobuf that has no end")
        octet = data[position]
        value |= (octet & 127) << shift
        position, shift = position + 1, shift + 7
        if octet < 128:
            return value, position
