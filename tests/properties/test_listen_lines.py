"""Line discipline: whole equals byte by byte, one message never holds a second, and nothing but CRLF ends a line."""

import hashlib
import itertools
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.listen.data import DataDecoder

END = b"\r\n.\r\n"
PIECES = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b".",
        b"..",
        b"\0",
        b"a",
        b"bc",
        b"\r\n.",
        b"\n.\n",
        b"\r.\r",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r\n..",
        b"\xc3\xab",
        b"x" * 70,
    ]
)
BYTES = st.lists(PIECES | st.binary(max_size=4), max_size=40).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=2000), max_size=12)


def decoded(stream: bytes, cuts: list[int], normalise: bool) -> tuple[str, int, bool, bool, bytes]:
    """Digest and size of the message, whether line ends were bad, whether it ended, and what was left behind its end."""
    decoder = DataDecoder(normalise)
    digest, size, rest = hashlib.sha256(), 0, b""
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        if decoder.finished:
            rest += stream[start:end]
        elif start < end:
            piece = decoder.feed(stream[start:end])
            digest.update(piece)
            size += len(piece)
            rest = decoder.rest
    return digest.hexdigest(), size, decoder.bad_line_ends, decoder.finished, rest


def message_of(stream: bytes, normalise: bool = False) -> tuple[bytes, DataDecoder]:
    """All at once."""
    decoder = DataDecoder(normalise)
    return decoder.feed(stream), decoder


@settings(max_examples=500)
@given(BYTES, CUTS, st.booleans())
@example(b"a\r\0\nb", [3], True)
def test_any_chunks_give_the_digest_and_verdict_of_the_whole(body: bytes, cuts: list[int], normalise: bool) -> None:
    stream = body + END + b"QUIT\r\n"
    assert decoded(stream, cuts, normalise) == decoded(stream, [], normalise)


@settings(max_examples=200)
@given(BYTES, st.booleans())
def test_byte_by_byte_gives_the_digest_and_verdict_of_the_whole(body: bytes, normalise: bool) -> None:
    stream = body + END
    assert decoded(stream, list(range(len(stream))), normalise) == decoded(stream, [], normalise)


@settings(max_examples=300)
@given(BYTES)
def test_only_crlf_dot_crlf_ends_a_message_and_what_follows_is_untouched(body: bytes) -> None:
    stream = body + END + b"MAIL FROM:<a@b.nl>\r\n"
    _, decoder = message_of(stream)
    assert decoder.finished
    # The line before DATA ended in CRLF, so a dot in front counts too (RFC 5321 §4.1.1.4).
    assert decoder.rest == (b"\r\n" + stream).partition(END)[2]


@settings(max_examples=300)
@given(BYTES)
def test_a_message_is_called_well_formed_only_if_every_line_end_is_crlf_and_there_is_no_nul(body: bytes) -> None:
    message, decoder = message_of(body + END)
    bare = re.search(rb"\r(?!\n)|(?<!\r)\n|\0", message)
    assert decoder.bad_line_ends == (bare is not None)


@settings(max_examples=300)
@given(BYTES)
def test_a_normalised_message_is_well_formed_and_that_it_was_bad_is_still_said(body: bytes) -> None:
    plain, told = message_of(body + END)
    message, decoder = message_of(body + END, normalise=True)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", message)
    assert decoder.bad_line_ends == told.bad_line_ends
    assert (message == plain) == (not decoder.bad_line_ends)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=12).map(lambda line: re.sub(rb"[\r\n\0]", b"", line)), max_size=12), CUTS)
def test_what_a_sender_stuffs_comes_out_as_it_was(lines: list[bytes], cuts: list[int]) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    digest, size, bad, finished, rest = decoded(stuffed + b".\r\n", cuts, False)
    assert (digest, size) == (hashlib.sha256(message).hexdigest(), len(message))
    assert (bad, finished, rest) == (False, True, b"")


@settings(max_examples=300)
@given(BYTES, CUTS)
def test_the_decoder_holds_back_four_bytes_at_most(body: bytes, cuts: list[int]) -> None:
    stream = body.replace(END, b"")
    decoder = DataDecoder()
    fed = taken = 0
    for start, end in itertools.pairwise([0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]):
        if start == end or decoder.finished:
            continue
        taken += len(decoder.feed(stream[start:end]))
        fed += end - start
        assert decoder.finished or len(decoder._held) <= 4
        assert taken <= fed
