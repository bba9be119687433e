"""What the next hop ends up with is what was sent, octet by octet, for any message in any chunks."""

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.deliver.outgoing import DotStuffer, left_out
from relay.deliver.parameters import original_recipient, xtext

PIECES = st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"..", b"a", b"\r\n.", b"\r\n.\r\n", b"\xff", b"\0"]), max_size=40)
CUTS = st.lists(st.integers(min_value=0, max_value=200), max_size=12)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def read_as_a_server(wire: bytes) -> tuple[bytes, bytes]:
    """RFC 5321 §4.5.2 read literally: lines until a lone dot; one leading dot is taken away. Gives message and rest."""
    message = b""
    while wire:
        line, end, wire = wire.partition(b"\r\n")
        if line == b".":
            return message, wire
        message += line.removeprefix(b".") + end
    raise AssertionError("no final dot")


@settings(max_examples=400)
@given(PIECES.map(b"".join), CUTS)
@example(b"a\r\n.\r\nb\r\n", [2, 3])
@example(b"", [])
def test_a_server_reads_back_what_was_sent_and_stops_where_we_do(message: bytes, cuts: list[int]) -> None:
    stuffer = DotStuffer()
    wire = b"".join(stuffer.stuffed(piece) for piece in pieces(message, cuts)) + stuffer.line_end() + b".\r\n"
    ended = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    assert read_as_a_server(wire + b"MAIL") == (ended, b"MAIL")


@given(
    st.binary(max_size=60),
    CUTS,
    st.lists(st.tuples(st.integers(0, 15), st.integers(1, 15)), max_size=4),
)
def test_ranges_are_left_out_whatever_the_chunks(data: bytes, cuts: list[int], steps: list[tuple[int, int]]) -> None:
    ranges, position, expected = [], 0, b""
    for gap, length in steps:
        start = position + gap + 1
        ranges.append((start, start + length))
        expected += data[position:start]
        position = start + length
    expected += data[position:]
    assert b"".join(left_out(pieces(data, cuts), tuple(ranges))) == expected


@given(st.text())
def test_xtext_is_one_printable_word_that_reads_back(text: str) -> None:
    encoded = xtext(text)
    assert all(33 <= octet <= 126 and octet != ord("=") for octet in encoded)
    decoded = b"".join(bytes((int(part[:2], 16),)) + part[2:] if index else part for index, part in enumerate(encoded.split(b"+")))
    assert decoded.decode("utf-8", "surrogateescape") == text


@given(st.text(), st.sampled_from(["rfc822", "utf-8", "RFC822"]))
def test_an_original_recipient_is_one_printable_word(address: str, kind: str) -> None:
    encoded = original_recipient(f"{kind};{address}")
    assert all(33 <= octet <= 126 for octet in encoded)
    assert encoded.lower().startswith((b"rfc822;", b"utf-8;"))
