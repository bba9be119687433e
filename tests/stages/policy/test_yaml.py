"""YAML 1.2 and nothing more: what a scalar is, and what is refused before anything is built."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.yaml import MAX_BYTES, MAX_DEPTH, YamlError, parse
from tests.stages.cost import in_proportion


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b101", "0b101"),
        ("-5", -5),
        ("+5", 5),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        (".5e1", 5.0),
        ("2030-01-31", "2030-01-31"),
        ("=", "="),
        ('"5"', "5"),
        ("'true'", "true"),
        ('""', ""),
        ("|\n  12\n", "12\n"),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    found = parse(f"key: {text}").value["key"]

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".NaN", "1e999"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(YamlError, match="no number"):
        parse(f"key: {text}")


def test_a_huge_number_is_a_word_and_costs_no_time() -> None:
    def read(digits: int) -> None:
        assert parse(f"key: {'9' * digits}").value == {"key": "9" * digits}

    assert in_proportion(read, 500_000, at_most=5)  # int() is not


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands here a second time"),
        ("x:\n  - {a: 1, 'a': 2}\n", 2, "the key 'a' stands here a second time"),
        ("a: &x 1\n", 1, "anchors and aliases are not used here"),
        ("a: 1\nb: *x\n", 2, "anchors and aliases are not used here"),
        ("a: !!str 1\n", 1, "tags are not used here"),
        ("a: 1\nb: !python/object:os.system x\n", 2, "tags are not used here"),
        ("a: 1\n---\nb: 2\n", 2, "only one document in a file"),
        ("? [1, 2]\n: 3\n", 1, "a key must be a plain word"),
        ("a: b: c\n", 1, "mapping values are not allowed in this context"),
        ("a:\n  - [1, 2\n", 3, "did not find expected ',' or ']'"),
        ("a: 1\nb: \x01\n", 2, "a character that YAML does not allow"),
        ("a:\n\t- 1\n", 2, "found character that cannot start any token"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse(text)

    assert (caught.value.line, caught.value.what) == (line, what)


def test_depth_is_bounded() -> None:
    parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)

    with pytest.raises(YamlError, match="nested deeper"):
        parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    with pytest.raises(YamlError, match="nested deeper"):
        parse("[" * 500_000)


def test_the_number_of_values_is_bounded() -> None:
    with pytest.raises(YamlError, match="more than 250000 values"):
        parse("rules: [" + "a," * 400_000 + "]")


def test_size_is_bounded() -> None:
    with pytest.raises(YamlError, match="larger than"):
        parse("#" * (MAX_BYTES + 1))


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert parse("<<: {a: 1}\n").value == {"<<": {"a": 1}}


def test_every_value_knows_its_line() -> None:
    lines = parse("rules:\n  - name: one\n    when:\n      tls: true\n  - name: two\n").lines

    assert lines[("rules", 0)] == 2
    assert lines[("rules", 0, "when", "tls")] == 4
    assert lines[("rules", 1, "name")] == 5


@given(st.text(st.sampled_from("ab1:-[]{},&*!|>'\"#%@` \n\t?.~\x00\x85é"), max_size=60))
def test_any_text_is_read_or_refused_with_our_error(text: str) -> None:
    line = 1
    try:
        parse(text)
    except YamlError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + text.count("\x85") + 2
