"""The standard reader gets a message in pieces, and reads what it would have read of it whole."""

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.read.lenient import PIECE, with_stdlib
from relay.read.limits import ReadLimits

HEADER = b"From: a@example.nl\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
LIMITS = ReadLimits(256 * 1024, 1000, 20)


def whole(data: bytes) -> list[object]:
    """What email.message_from_bytes finds."""
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    return [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]


def in_pieces(data: bytes) -> list[object]:
    return [leaf.data for leaf in with_stdlib(data, LIMITS) if not leaf.path.endswith(("preamble", "epilogue"))]


@pytest.mark.parametrize("before", range(8))
def test_a_line_end_or_delimiter_at_the_end_of_a_piece_is_read_the_same(before: int) -> None:
    for marks in (b"\r\n--b\r\n", b"\r\n\r\n", b"\r\r\n\n", b"\n--b--\n", b"\r--b\r", b"\xe9\r\n--b"):
        data = HEADER + b"--b\r\n\r\n"
        data += b"x" * (2 * PIECE - len(data) - before) + marks + b"\r\nmore\r\n--b--\r\n"
        assert in_pieces(data) == whole(data)


@given(
    st.lists(
        st.sampled_from([b"\r\n", b"\n", b"\r", b"--b\r\n", b"--b--\r\n", b"x" * 1021, b"\xc3\xa9", b"a: b\r\n", b"=\r\n"]), max_size=60
    )
)
def test_whatever_comes_is_read_the_same(parts: list[bytes]) -> None:
    data = HEADER + b"--b\r\n" + b"".join(parts)
    assert in_pieces(data) == whole(data)
