"""CEL means the same to the implementation that checks it and to the one that runs it: a table after the conformance tests of the language
(cel-spec, tests/simple), and random values under expressions of the kind that policies have."""

from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.decide.literal import looked_for_first, required
from relay.policy.interpreter import interpreter

TYPES = {"n": cel.Type.INT, "m": cel.Type.INT, "s": cel.Type.STRING, "t": cel.Type.STRING, "b": cel.Type.BOOL}
LISTS = {"l": cel.Type.List(cel.Type.STRING)}
ENVIRONMENT = cel.NewEnv(variables=TYPES | LISTS)
VALUES: dict[str, Any] = {"n": 3, "m": -7, "s": "abc", "t": "É🙂", "b": True, "l": ["a", "abc", ""]}

TABLE = [
    # basic, comparisons
    "true", "!b", "!!b", "1 == 1", "n == 3", "n != m", "n > m", "m <= -7", "'a' < 'b'", "s == 'abc'", "t == 'É🙂'", "b == true",
    "[1, 2] == [1, 2]", "[1, 2] == [2, 1]", "{'a': 1} == {'a': 1}", "l == ['a', 'abc', '']", "n in [1, 2, 3]", "s in l", "'x' in l",
    # integer_math
    "n + m == -4", "n * m == -21", "7 / 2 == 3", "-7 / 2 == -3", "7 % 2 == 1", "-7 % 2 == -1", "-n == -3",
    # logic: what an error next to it does not change
    "b || 1 / 0 == 1", "1 / 0 == 1 || b", "!b && 1 / 0 == 1", "1 / 0 == 1 && !b", "b ? true : 1 / 0 == 1", "b ? n > 1 : n < 1",
    # string
    "size(s) == 3", "s.contains('b')", "s.contains('')", "s.startsWith('ab')", "s.endsWith('bc')", "t.startsWith('É')",
    "s + t == 'abcÉ🙂'", r"s.matches('^a.c$')", r"s.matches('b')", r"s.matches('^b')", r"t.matches('^.{2}$')", r"s.matches('[[:alpha:]]+')",
    # lists, macros
    "size(l) == 3", "l[0] == 'a'", "l.exists(x, x == 'abc')", "l.exists(x, x == 'q')", "l.all(x, size(x) < 4)", "l.all(x, x != '')",
    "l.exists_one(x, x == 'a')", "l.exists_one(x, size(x) >= 0)", "l.filter(x, x != '') == ['a', 'abc']",
    "l.map(x, x + 'z') == ['az', 'abcz', 'z']",
    "[].all(x, x == 1)", "[].exists(x, x == 1)", "l.filter(x, x.contains('a')).exists(y, y == 'a')",
    # what goes wrong
    "1 / 0 == 1", "1 % 0 == 1", "l[9] == 'a'", "9223372036854775807 + 1 > 0", "-9223372036854775807 - 2 < 0", "9223372036854775807 * 2 > 0",
    "l.exists(x, 1 / 0 == 1)", "l.exists(x, x == 'a' || 1 / 0 == 1)",
]  # fmt: skip


DIFFERENT = {
    # Octets in UTF-8 where the language counts code points; docs/policy.md says so.
    "size(t) == 2": (False, True),
    "size(t) == 6": (True, False),
    # An error for one element is the end, though another one decides: unknown, where the language says no. Unknown never passes.
    "l.all(x, x == 'a' && 1 / 0 == 1)": (None, False),
}
"""What the one that runs says, and what the language says: all that is known. A new version that mends one of these fails a test."""


def checked(text: str, values: dict[str, Any]) -> bool | None:
    """By the implementation that checks; None is an error."""
    found = ENVIRONMENT.compile(text).eval(data=values)
    return found.value() if found.type() == cel.Type.BOOL else None


def ran(text: str, values: dict[str, Any]) -> bool | None:
    """By the implementation that runs; None is an error."""
    try:
        found = interpreter().compile(text).execute(interpreter().Context(values))
    except (ValueError, LookupError, TypeError, RuntimeError, OverflowError, ZeroDivisionError):
        return None
    return found if isinstance(found, bool) else None


@pytest.mark.parametrize("text", TABLE)
def test_an_expression_of_the_table_means_the_same_to_both(text: str) -> None:
    assert ran(text, VALUES) == checked(text, VALUES)


@pytest.mark.parametrize("text", DIFFERENT)
def test_where_they_differ_is_known(text: str) -> None:
    assert (ran(text, VALUES), checked(text, VALUES)) == DIFFERENT[text]


STRINGS = st.text("abcABC .@-", max_size=6)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)
CONTEXTS = st.fixed_dictionaries(
    {"n": NUMBERS, "m": NUMBERS, "s": STRINGS, "t": STRINGS, "b": st.booleans(), "l": st.lists(STRINGS, max_size=4)}
)
ATOMS = st.sampled_from(
    ["b", "n > m", "n + m > 0", "n * m == m", "n - m < 10", "n / m == 1", "n % m == 0", "s == t", "s.contains(t)", "s.startsWith(t)",
     "t.endsWith(s)", "size(s) > size(t)", "s in l", "l.exists(x, x == s)", "l.all(x, size(x) > n)", "l.exists_one(x, x == t)",
     "size(l.filter(x, x != s)) > 1", "l[n] == s", "s.matches('^[a-c]+$')", "s + t == t + s", "s < t"]
)  # fmt: skip
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        inner.map("!({})".format),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=400)
@given(EXPRESSIONS, CONTEXTS)
def test_random_expressions_over_random_values_mean_the_same_to_both(text: str, values: dict[str, Any]) -> None:
    assert ran(text, values) == checked(text, values)


PIECES = st.sampled_from(["ab", "a", "B", "@", ".", "[ab]", "[^a]", "(ab)", "(a|B)", "(?i)ab", "^", "$", " ", "-", "cA", "[[:alpha:]]"]) | (
    st.sampled_from([r"\.", r"\d", r"\w", r"\-", r"\x41", r"\p{L}", r"\b"])
)
COUNTS = st.sampled_from(["", "", "", "", "*", "+", "?", "{0}", "{2}", "{1,}", "{0,2}"])
PATTERNS = st.lists(st.tuples(PIECES, COUNTS).map("".join), min_size=1, max_size=6).map("".join)


@settings(max_examples=1000)
@given(PATTERNS, st.lists(STRINGS, min_size=1, max_size=5))
def test_what_is_looked_for_before_a_pattern_changes_no_answer(pattern: str, texts: list[str]) -> None:
    asked = f"s.matches(r'{pattern}')"
    for text in texts:
        values = VALUES | {"s": text}
        plain = ran(asked, values)
        assert plain is None or ran(looked_for_first(asked), values) is plain


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        ("^Person 4$", "Person 4"),
        (r"[0-9]{4}\.nl", ".nl"),
        ("ab*c", ""),
        ("urgent?x", "urgen"),
        ("(urgent)?now", "now"),
        ("urgent|now", ""),
        ("(?i)urgent", ""),
    ],
)
def test_what_a_pattern_needs_is_what_no_match_lacks(pattern: str, needed: str) -> None:
    assert required(pattern) == needed


def test_a_pattern_is_left_alone_in_text_behind_a_call_and_where_it_is_not_plain() -> None:
    for asked in ("'s.matches(\"ab\")' == s", "l.map(x, x)[0].matches('ab')", r"s.matches('a\\.nl')", "s.matches('(?i)ab')"):
        assert looked_for_first(asked) == asked
    assert looked_for_first("!s.matches('ab')") == "!(s.contains('ab') && s.matches('ab'))"


def test_what_is_not_known_stays_unknown_when_it_is_looked_for_first() -> None:
    for asked in ("nobody.matches('ab')", "!nobody.matches('ab')"):
        assert ran(looked_for_first(asked), VALUES) is None
