"""What holds of the canonical form of any JSON object: it is that of rfc8785, or its error; and JSON for rows says what was meant."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from relay.audit.canonical import canonical_json
from relay.model.plain_json import json_text

TEXT = st.text(st.characters(codec=None, categories=None), max_size=20)  # halves of surrogate pairs too
WHOLE = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text()
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=5)


@given(OBJECTS)
@example({"\U0001f600": 1, "\uffff": 2})  # sorted by code units of UTF-16
@example({"number": 1e21, "other": 1.0, "large": 2**53})
@example({"escapes": '\x00\x08\t\n\x0b\x0c\r\x1b\x7f"\\/\u2028é\ud800'})
def test_it_is_that_of_rfc8785(value: dict[str, Any]) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        with pytest.raises(type(error)):
            canonical_json(value)
    except UnicodeEncodeError:
        with pytest.raises((UnicodeEncodeError, rfc8785.CanonicalizationError)):
            canonical_json(value)
    else:
        assert canonical_json(value) == expected


@pytest.mark.parametrize("value", [{1: "x"}, {"x": {None: 1}}, {"x": object()}, {"x": b"x"}], ids=["integer", "none", "object", "octets"])
def test_what_is_no_json_is_refused(value: dict[Any, Any]) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical_json(value)


@given(st.recursive(WHOLE, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@example("half a pair: \udc80")
def test_what_is_written_to_a_row_is_read_again(value: Any) -> None:
    assert json.loads(json_text(value)) == value
