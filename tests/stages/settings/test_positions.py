"""Every key of a TOML document is found on the line where it stands, however it is written."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.settings.positions import Path, positions


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2\n", ("b",), 2),
        ("# c\n\n[t]\n\nx = 1\n", ("t", "x"), 5),
        ("[t.u]\nx = 1\n", ("t", "u"), 1),
        ("[[l]]\nx = 1\n[[l]]\nx = 2\n", ("l", 1, "x"), 4),
        ("[[l]]\n[l.t]\ny = 1\n[[l]]\n[l.t]\ny = 2\n", ("l", 1, "t", "y"), 6),
        ("a.b.c = 1\n", ("a", "b", "c"), 1),
        ("t = {x = 1, y = [1,\n 2]}\n", ("t", "y", 1), 2),
        ('x = """\n\n\n"""\ny = 1\n', ("y",), 5),
        ("x = '''\n'''\ny = 1\n", ("y",), 3),
        ('x = """a""""\ny = 1\n', ("y",), 2),
        ('x = "a\\"b # no"\ny = 1\n', ("y",), 2),
        ("x = 'a\\'\ny = 1\n", ("y",), 2),
        ("\"a b\" = 1\n'c d' = 2\n", ("c d",), 2),
        ('"\\u0041" = 1\n', ("A",), 1),
        ("x = [ # one\n  1, # two ]\n  2,\n]\ny = 3\n", ("x", 1), 3),
        ("x = [ # one\n  1, # two ]\n  2,\n]\ny = 3\n", ("y",), 5),
        ("x = 1979-05-27T07:32:00Z # t\r\ny = 1\r\n", ("y",), 2),
    ],
)
def test_a_key_is_found_on_its_line(text: str, path: Path, line: int) -> None:
    tomllib.loads(text)

    assert positions(text)[path] == line


VALUES = st.recursive(
    st.sampled_from(["1", "true", '"a # b"', "'x'", '"""\n\\"\n"""', "1.5", "2026-11-24"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ",\n # c\n".join(items) + "]"),
        st.lists(inner, max_size=2).map(lambda items: "{" + ", ".join(f"k{at} = {item}" for at, item in enumerate(items)) + "}"),
    ),
    max_leaves=6,
)
TABLES = st.lists(
    st.tuples(st.sampled_from(["[t{}]", "[[list]]", "[list2.t{}]", '["q {}"]']), st.lists(VALUES, max_size=3)), max_size=4
).map(
    lambda tables: "\n".join(
        f"{head.format(number)}\n" + "".join(f"  v{at} = {value} # {at}\n" for at, value in enumerate(values))
        for number, (head, values) in enumerate(tables)
    )
)


def paths(value: Any, path: Path = ()) -> list[Path]:
    """Every path in what tomllib read."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in paths(child, (*path, key)))]


@given(TABLES)
def test_every_value_that_tomllib_reads_has_a_line(text: str) -> None:
    found = positions(text)

    for path in paths(tomllib.loads(text)):
        assert 1 <= found[path] <= text.count("\n") + 1
