"""Line ends are CRLF or they are not: the same as what counting says, wherever they lie."""

from hypothesis import example, given
from hypothesis import strategies as st

from relay.model.line_ends import only_crlf

PIECE = 64 * 1024
TEXTS = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"a", b"\0", b"\x85", b"\x0b\x0c", b"\xe2\x80\xa8"]), max_size=8).map(b"".join)


def counted(octets: bytes) -> bool:
    return octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n")


@given(TEXTS, st.sampled_from([0, PIECE - 2, PIECE - 1, PIECE]))
@example(b"", 0)
@example(b"\r\n", PIECE - 1)
@example(b"\r", PIECE - 1)
@example(b"\r", 0)
def test_each_cr_and_each_lf_is_half_of_a_crlf_or_it_is_told(octets: bytes, before: int) -> None:
    assert only_crlf(b"a" * before + octets) is counted(octets)
