"""Base64 is decoded to what was encoded, however its lines are cut; what is no Base64 is never mended."""

import base64
import binascii
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.read.ambiguity import Ambiguous
from relay.read.decode import decode_body

LARGE = random.Random(1).randbytes(700_000)


def decoded(text: bytes) -> bytes | None:
    """None for what is refused. Something stands around it that is not to be touched."""
    try:
        return decode_body(b"=\r" + text + b"\n*", 2, 2 + len(text), "base64", "1")
    except Ambiguous:
        return None


def cut(text: bytes, widths: list[int]) -> bytes:
    """In lines of these widths, the last one for all that is left."""
    lines, position = [], 0
    for width in widths:
        lines.append(text[position : position + width])
        position += width
    lines += [text[start : start + widths[-1]] for start in range(position, len(text), widths[-1])]
    return b"".join(line + b"\r\n" for line in lines)


@given(st.binary(max_size=300), st.lists(st.integers(1, 90), min_size=1, max_size=4))
@example(LARGE, [76])
@example(LARGE, [76, 76, 20, 54, 76])
@example(LARGE, [37, 37, 76])
@example(LARGE, [1_000_000])
def test_lines_may_be_of_any_length(data: bytes, widths: list[int]) -> None:
    assert decoded(cut(base64.b64encode(data), widths)) == data


@given(st.text("ABz9+/=-_ \0", max_size=24))
def test_what_is_refused_is_what_the_standard_library_refuses(text: str) -> None:
    octets = text.encode()
    try:
        wanted = None if octets.endswith(b"===") else binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        wanted = None
    assert decoded(octets) == (None if len(octets) % 4 else wanted)


@pytest.mark.parametrize("hidden", [b"\0", b"-", b"=", b" ", b"\x80"])
def test_one_octet_in_the_midst_of_a_large_part_is_seen(hidden: bytes) -> None:
    text = bytearray(cut(base64.b64encode(LARGE), [76]))
    text[500_000:500_001] = hidden
    assert decoded(bytes(text)) is None
